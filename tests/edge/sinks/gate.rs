//! A place on the network that can be cut: what a server that is down looks like, without losing what it holds.

use std::time::{Duration, Instant};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Passes connections on to a server while it is open; closed, it refuses them and breaks those there are.
pub struct Gate {
    port: u16,
    behind: u16,
    porter: Option<JoinHandle<()>>,
}

impl Gate {
    /// Closed, in front of a local port.
    pub fn before(behind: u16, port: u16) -> Gate {
        Gate { port, behind, porter: None }
    }

    /// Where it can be reached.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub async fn open(&mut self) {
        let listener = listen(self.port).await;
        let behind = self.behind;
        self.porter = Some(tokio::spawn(async move {
            // Dropped with this task, and every connection with it.
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(("127.0.0.1", behind)).await {
                        let _ = copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        }));
    }

    pub async fn close(&mut self) {
        if let Some(porter) = self.porter.take() {
            porter.abort();
            // Ends with being cancelled.
            let _ = porter.await;
        }
    }
}

/// Listens on a port that was ours a moment ago; a connection that is just ending may still hold it.
pub async fn listen(port: u16) -> TcpListener {
    let began = Instant::now();
    loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return listener,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(10), "port {port}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(porter) = &self.porter {
            porter.abort();
        }
    }
}
