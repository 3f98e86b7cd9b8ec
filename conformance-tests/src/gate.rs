//! The way to a server, which a test can cut.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// A loopback port that passes connections on to a server, while it is open. The port is part of the server's name and stays
/// the same when the server restarts.
#[derive(Debug)]
pub struct Gate {
    port: u16,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    target: Option<SocketAddr>,
    open: bool,
    /// Set when the gate is dropped: the port is to be free again.
    gone: bool,
    streams: Vec<TcpStream>,
    passed: u64,
}

impl Gate {
    /// An open gate that leads nowhere yet.
    pub fn new() -> Self {
        Self::at(0)
    }

    /// A gate on this port, for a server whose data has the port in its name; 0 is any.
    ///
    /// # Panics
    /// If the port is taken.
    pub fn at(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a loopback port that is free");
        let port = listener.local_addr().expect("a bound port").port();
        let state =
            Arc::new(Mutex::new(State { target: None, open: true, gone: false, streams: Vec::new(), passed: 0 }));
        let shared = state.clone();
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if lock(&shared).gone {
                    return;
                }
                // A connection that can't be passed on is closed, as by a server that is gone.
                let _ = pass(&shared, stream);
            }
        });
        Self { port, state, accepting: Some(accepting) }
    }

    /// The port that others connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where new connections go.
    pub fn lead_to(&self, target: SocketAddr) {
        lock(&self.state).target = Some(target);
    }

    /// Cuts all connections and refuses new ones.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.open = false;
        for stream in state.streams.drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Lets new connections through.
    pub fn open(&self) {
        lock(&self.state).open = true;
    }

    /// How many connections were let through.
    pub fn passed(&self) -> u64 {
        lock(&self.state).passed
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
        lock(&self.state).gone = true;
        // The thread looks when somebody comes.
        let woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            // It ends in any case; how is of no interest here.
            let _ = accepting.join();
        }
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass(state: &Mutex<State>, from: TcpStream) -> io::Result<()> {
    let mut state = lock(state);
    let (true, Some(target)) = (state.open, state.target) else { return Ok(()) };
    let to = TcpStream::connect(target)?;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    state.passed += 1;
    state.streams.push(from.try_clone()?);
    state.streams.push(to.try_clone()?);
    copy(from.try_clone()?, to.try_clone()?);
    copy(to, from);
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    std::thread::spawn(move || {
        // Either end may break off; then the other one is closed too.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
