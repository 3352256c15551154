//! Addresses behind which no provider speaks: each fails a connection in its own way, before a request can be sent.

use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// A connection to a full backlog is never made; one to any other local port stands before `connect` returns.
const UNANSWERED: Duration = Duration::from_millis(200);

/// An address with its own way to fail. Dropping it frees the address.
pub struct Door {
    address: SocketAddr,
    _listener: Option<TcpListener>,
    _queued: Vec<TcpStream>,
    porter: Option<JoinHandle<()>>,
}

impl Door {
    /// Refuses every connection: nobody listens at the discard port.
    pub fn refuses() -> Door {
        Door::at(SocketAddr::from(([127, 0, 0, 1], 9)), None)
    }

    /// Black-holed: the backlog is full and nobody accepts, so the kernel drops every further SYN without a word.
    pub async fn drops_packets() -> Door {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let listener = socket.listen(1).expect("a listener");
        let mut door = Door::at(listener.local_addr().expect("an address"), Some(listener));
        while let Ok(queued) = tokio::time::timeout(UNANSWERED, TcpStream::connect(door.address)).await {
            door._queued.push(queued.expect("a connection"));
            assert!(door._queued.len() < 16, "the kernel takes more connections than the backlog holds");
        }
        door
    }

    /// Accepts every connection and closes it at once.
    pub async fn slams() -> Door {
        Door::kept(drop).await
    }

    /// Accepts every connection, says nothing and reads nothing.
    pub async fn stays_mute() -> Door {
        let mut held = Vec::new();
        Door::kept(move |connection| held.push(connection)).await
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    async fn kept(mut receive: impl FnMut(TcpStream) + Send + 'static) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut door = Door::at(listener.local_addr().expect("an address"), None);
        door.porter = Some(tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                receive(connection);
            }
        }));
        door
    }

    fn at(address: SocketAddr, listener: Option<TcpListener>) -> Door {
        Door { address, _listener: listener, _queued: Vec::new(), porter: None }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(porter) = &self.porter {
            porter.abort();
        }
    }
}

#[tokio::test]
async fn each_door_fails_in_its_own_way() {
    use tokio::io::AsyncReadExt;
    let connect = async |door: &Door| TcpStream::connect(door.authority()).await;
    assert!(connect(&Door::refuses()).await.is_err());
    let full = Door::drops_packets().await;
    assert!(tokio::time::timeout(UNANSWERED, connect(&full)).await.is_err());
    let slamming = Door::slams().await;
    assert_eq!(connect(&slamming).await.expect("a connection").read(&mut [0]).await.unwrap_or(0), 0);
    let mute = Door::stays_mute().await;
    let mut connection = connect(&mute).await.expect("a connection");
    assert!(tokio::time::timeout(UNANSWERED, connection.read(&mut [0])).await.is_err());
}
