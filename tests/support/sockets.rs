//! The TCP sockets of a running process, as its kernel knows them: what no traffic can show.

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::net::{SocketAddr, TcpStream};

/// One end of an established TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// The end the process holds.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// `TCP_NODELAY`: small writes leave at once, whatever is not acknowledged yet.
    pub nodelay: bool,
}

/// The established TCP connections of a child process. Panics where the kernel does not let a parent look.
pub fn established(process: u32) -> Vec<Socket> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process id");
    let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap_or_else(|e| panic!("pidfd_open of process {process}: {e}"));
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the descriptors of a child");
    let mut sockets = Vec::new();
    for descriptor in descriptors.flatten() {
        // One that is gone meanwhile is no socket any more.
        let Ok(kind) = std::fs::read_link(descriptor.path()) else { continue };
        if !kind.to_string_lossy().starts_with("socket:") {
            continue;
        }
        let number = descriptor.file_name().to_string_lossy().parse().expect("descriptors are numbers");
        match pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()) {
            Ok(duplicate) => sockets.extend(inspect(&duplicate.into())),
            Err(rustix::io::Errno::BADF) => {}
            Err(error) => panic!(
                "THE KERNEL REFUSES pidfd_getfd of a child's socket ({error}), so nothing is proven about its options: run this \
                 test where a process may trace its children (in a container: with CAP_SYS_PTRACE)"
            ),
        }
    }
    sockets
}

/// `None` for anything but an established TCP connection.
fn inspect(socket: &TcpStream) -> Option<Socket> {
    Some(Socket { local: socket.local_addr().ok()?, peer: socket.peer_addr().ok()?, nodelay: socket.nodelay().ok()? })
}

#[test]
fn a_socket_that_holds_small_writes_back_is_told_from_one_that_does_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let [eager, patient] = [true, false].map(|nodelay| {
        let socket = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        socket.set_nodelay(nodelay).expect("TCP_NODELAY");
        socket
    });
    let seen = established(std::process::id());
    for (socket, nodelay) in [(eager, true), (patient, false)] {
        let (local, peer) = (socket.local_addr().expect("an address"), socket.peer_addr().expect("an address"));
        assert!(seen.contains(&Socket { local, peer, nodelay }), "{seen:#?}");
    }
}
