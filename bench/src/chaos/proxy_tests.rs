use super::*;

/// Two processes and the proxy between them. Players reach the second.
struct Pair {
    proxy: Proxy,
    sockets: [UdpSocket; 2],
    ends: [Ends; 2],
    doors: [Ends; 2],
}

fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn pair() -> Pair {
    let sockets = [0; 2].map(|_| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket
    });
    let fronts =
        || sockets.each_ref().map(|socket| Ends { home: socket.local_addr().unwrap(), front: free() });
    let (ends, doors) = (fronts(), fronts());
    Pair { proxy: Proxy::start(&ends, &doors, 1).unwrap(), sockets, ends, doors }
}

impl Pair {
    /// Sends numbered datagrams from the first to the second, a few at a time, and gives what arrived with its source.
    fn send(&self, count: u32) -> (Vec<u32>, Option<SocketAddr>) {
        let mut arrived = Vec::new();
        let mut source = None;
        let mut read = || {
            let mut bytes = [0; 4];
            let received = self.sockets[1].recv_from(&mut bytes);
            if let Ok((_, from)) = received {
                arrived.push(u32::from_be_bytes(bytes));
                source = Some(from);
            }
            received.is_ok()
        };
        for number in 0..count {
            self.sockets[0].send_to(&number.to_be_bytes(), self.ends[1].front).unwrap();
            if number % 32 == 31 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        while read() {}
        (arrived, source)
    }
}

#[test]
fn what_is_sent_to_a_front_arrives_in_order_and_its_answer_comes_from_that_front() {
    let pair = pair();
    let weather = Weather { delay: Duration::from_millis(1), jitter: Duration::from_millis(3), loss: 0.0 };
    pair.proxy.set_weather(weather);
    let (arrived, source) = pair.send(200);
    assert_eq!(arrived, (0..200).collect::<Vec<_>>());
    pair.sockets[1].send_to(b"back", source.unwrap()).unwrap();
    let mut bytes = [0; 4];
    let (_, from) = pair.sockets[0].recv_from(&mut bytes).unwrap();
    assert_eq!((&bytes, from), (b"back", pair.ends[1].front));
    // It counts what it has sent, so the last one may have arrived before.
    while pair.proxy.carried().delivered < 201 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(pair.proxy.carried().delivered, 201);
}

#[test]
fn a_partition_may_be_of_one_direction_and_ends_when_it_is_mended() {
    let pair = pair();
    let (_, source) = pair.send(1);
    pair.proxy.cut(0, 1);
    assert_eq!(pair.send(10).0.len(), 0);
    assert_eq!(pair.proxy.carried().cut, 10);
    pair.sockets[1].send_to(b"back", source.unwrap()).unwrap();
    assert!(pair.sockets[0].recv_from(&mut [0; 4]).is_ok(), "the way back is open");
    pair.proxy.mend(0, 1);
    assert_eq!(pair.send(10).0.len(), 10);
}

#[test]
fn a_part_gets_lost_and_the_rest_arrives_in_order() {
    let pair = pair();
    pair.proxy.set_weather(Weather { loss: 0.2, ..Weather::default() });
    let (arrived, _) = pair.send(200);
    assert!((15..80).contains(&(200 - arrived.len())), "{} of 200 arrived at 20 % loss", arrived.len());
    assert!(arrived.is_sorted());
}

#[test]
fn a_longer_delay_takes_longer() {
    let pair = pair();
    let time = |delay| {
        pair.proxy.set_weather(Weather { delay, ..Weather::default() });
        let begun = Instant::now();
        pair.sockets[0].send_to(b"time", pair.ends[1].front).unwrap();
        pair.sockets[1].recv_from(&mut [0; 4]).unwrap();
        begun.elapsed()
    };
    // The quickest of a few, as the machine may be busy.
    let quickest = |delay| (0..5).map(|_| time(delay)).min().unwrap();
    let (short, long) = (quickest(Duration::ZERO), quickest(Duration::from_millis(60)));
    assert!(long >= Duration::from_millis(60) && long > short, "{short:?}, {long:?}");
}

#[test]
fn players_are_told_apart_at_a_door_and_can_be_cut_off_from_it() {
    let pair = pair();
    let players = [0; 2].map(|_| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket
    });
    let (server, mut bytes) = (&pair.sockets[1], [0; 8]);
    let mut sources = Vec::new();
    for (player, name) in players.iter().zip(["one", "two"]) {
        player.send_to(name.as_bytes(), pair.doors[1].front).unwrap();
        let (length, source) = server.recv_from(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], name.as_bytes());
        sources.push(source);
    }
    for (source, name) in sources.iter().zip(["to one", "to two"]) {
        server.send_to(name.as_bytes(), source).unwrap();
    }
    for (player, name) in players.iter().zip(["to one", "to two"]) {
        let (length, from) = player.recv_from(&mut bytes).unwrap();
        assert_eq!((&bytes[..length], from), (name.as_bytes(), pair.doors[1].front));
    }
    pair.proxy.cut(1, PLAYERS);
    server.send_to(b"lost", sources[0]).unwrap();
    assert!(players[0].recv_from(&mut bytes).is_err());
    players[0].send_to(b"heard", pair.doors[1].front).unwrap();
    assert!(server.recv_from(&mut bytes).is_ok(), "the other way is open");
    pair.proxy.cut(PLAYERS, 1);
    players[0].send_to(b"lost", pair.doors[1].front).unwrap();
    assert!(server.recv_from(&mut bytes).is_err());
    assert_eq!(pair.proxy.carried().cut, 2);
}

#[test]
fn a_stranger_is_refused() {
    let pair = pair();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"hello", pair.ends[1].front).unwrap();
    assert!(pair.sockets[1].recv_from(&mut [0; 4]).is_err());
    assert_eq!(pair.proxy.carried().refused, 1);
}
