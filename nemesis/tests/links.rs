//! Links against real sockets: what a rule does to bytes, to connections, and to news of their end.

mod common;

use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use common::{LIMIT, eventually, n, within};
use nemesis::links::{CanaryEnds, FaultId, Framing, LinkStats, Odds, Rule, Stranger};
use nemesis::{Endpoint, Link, Links, Registry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const FAULT: FaultId = FaultId(0);
const CANARY_WAIT: Duration = Duration::from_millis(100);

/// A pair of nodes, `n1` that dials `n2`, with a listener of the test as `n2`.
struct Pair {
    links: Links,
    server: TcpListener,
    address: std::net::SocketAddr,
}

impl Pair {
    async fn new() -> Self {
        Self::with(Links::new(Registry::default()).await.unwrap()).await
    }

    async fn with(links: Links) -> Self {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = links.listen_pair(&n(1), &n(2), server.local_addr().unwrap()).await.unwrap();
        Self { links, server, address }
    }

    async fn dial(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }

    async fn connect(&self) -> (TcpStream, TcpStream) {
        let dialler = self.dial().await;
        (dialler, self.accept().await)
    }

    async fn accept(&self) -> TcpStream {
        within(self.server.accept()).await.unwrap().0
    }

    fn forth() -> Link {
        Link::new(n(1), n(2))
    }

    fn stats(&self) -> LinkStats {
        self.links.stats().get(&Self::forth()).copied().unwrap_or_default()
    }
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    within(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

fn numbered_bytes(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn held_bytes_arrive_whole_and_in_order_after_heal() {
    let pair = Pair::new().await;
    let (mut dialler, mut server) = pair.connect().await;
    dialler.write_all(b"before").await.unwrap();
    assert_eq!(read(&mut server, 6).await, b"before");

    pair.links.impose(FAULT, &Pair::forth(), Rule::HOLD);
    let sent = numbered_bytes(300_000);
    dialler.write_all(&sent).await.unwrap();
    eventually("all bytes wait", || pair.stats().bytes_held == 300_000).await;
    assert_eq!(pair.stats().bytes_out, 6);

    pair.links.lift(FAULT);
    assert_eq!(read(&mut server, sent.len()).await, sent);
    assert_eq!(pair.stats().bytes_in, pair.stats().bytes_out);
}

#[tokio::test]
async fn held_link_leaves_the_other_direction_alone() {
    let pair = Pair::new().await;
    let (mut dialler, mut server) = pair.connect().await;
    pair.links.impose(FAULT, &Pair::forth(), Rule::HOLD);
    dialler.write_all(b"held").await.unwrap();
    server.write_all(b"passes").await.unwrap();
    assert_eq!(read(&mut dialler, 6).await, b"passes");
    eventually("bytes wait", || pair.stats().bytes_held == 4).await;
    assert_eq!(pair.stats().bytes_out, 0);
}

#[tokio::test]
async fn bytes_in_flight_are_cut_in_the_middle_of_a_stream() {
    let pair = Pair::new().await;
    let (mut dialler, mut server) = pair.connect().await;
    let sent = numbered_bytes(32 << 20);
    let (expected, links) = (sent.clone(), pair.links.clone());
    let writer = tokio::spawn(async move { dialler.write_all(&sent).await.map(|()| dialler) });
    let mut received = read(&mut server, 1 << 20).await;
    links.impose(FAULT, &Pair::forth(), Rule::HOLD);
    eventually("bytes wait", || pair.stats().bytes_held > 0).await;
    links.lift(FAULT);
    received.extend(read(&mut server, expected.len() - received.len()).await);
    assert!(received == expected, "the stream was changed");
    within(writer).await.unwrap().unwrap();
}

#[tokio::test]
async fn new_connection_is_established_only_after_heal() {
    let pair = Pair::new().await;
    pair.links.impose(FAULT, &Pair::forth().reversed(), Rule::HOLD);
    let mut dialler = pair.dial().await;
    dialler.write_all(b"hello").await.unwrap();
    eventually("the connection waits", || pair.stats().waited == 1).await;
    assert!(timeout(Duration::ZERO, pair.server.accept()).await.is_err());
    pair.links.lift(FAULT);
    assert_eq!(read(&mut pair.accept().await, 5).await, b"hello");
}

#[tokio::test]
async fn dialler_that_gave_up_during_a_cut_never_arrives() {
    let pair = Pair::new().await;
    pair.links.impose(FAULT, &Pair::forth(), Rule::HOLD);
    let mut impatient = pair.dial().await;
    impatient.write_all(b"gone").await.unwrap();
    eventually("the connection waits", || pair.stats().waited == 1).await;
    drop(impatient);
    let mut patient = pair.dial().await;
    patient.write_all(b"here").await.unwrap();
    eventually("both connections wait", || pair.stats().waited == 2).await;
    pair.links.lift(FAULT);
    assert_eq!(read(&mut pair.accept().await, 4).await, b"here");
    assert_eq!(pair.stats().connections, 1);
}

#[tokio::test]
async fn reset_ends_both_sides_with_an_error() {
    let pair = Pair::new().await;
    let (mut dialler, mut server) = pair.connect().await;
    // The bytes prove that the connection is established on both sides of the proxy.
    dialler.write_all(b"x").await.unwrap();
    assert_eq!(read(&mut server, 1).await, b"x");
    pair.links.reset(&Pair::forth().reversed());
    for side in [&mut dialler, &mut server] {
        let error = within(side.read_u8()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    eventually("the reset is counted", || pair.stats().resets == 1).await;
    let (_dialler, _server) = pair.connect().await;
}

#[tokio::test]
async fn half_closed_stream_still_carries_the_answer() {
    let pair = Pair::new().await;
    let (mut dialler, mut server) = pair.connect().await;
    dialler.write_all(b"question").await.unwrap();
    dialler.shutdown().await.unwrap();
    let mut question = Vec::new();
    within(server.read_to_end(&mut question)).await.unwrap();
    assert_eq!(question, b"question");
    server.write_all(b"answer").await.unwrap();
    drop(server);
    let mut answer = Vec::new();
    within(dialler.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"answer");
    eventually("the connection is over", || pair.stats().ended == 1).await;
}

#[tokio::test]
async fn news_of_a_close_does_not_cross_a_cut() {
    let pair = Pair::new().await;
    let (mut dialler, mut server) = pair.connect().await;
    dialler.write_all(b"a").await.unwrap();
    assert_eq!(read(&mut server, 1).await, b"a");
    pair.links.impose(FAULT, &Pair::forth(), Rule::HOLD);
    dialler.write_all(b"b").await.unwrap();
    drop(dialler);
    eventually("the last byte waits", || pair.stats().bytes_held == 1).await;
    assert!(timeout(Duration::ZERO, server.read_u8()).await.is_err());
    pair.links.lift(FAULT);
    let mut rest = Vec::new();
    within(server.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"b");
}

#[tokio::test]
async fn dead_destination_resets_its_dialler() {
    let links = Links::new(Registry::default()).await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let address = links.listen_pair(&n(1), &n(2), closed).await.unwrap();
    let mut dialler = within(TcpStream::connect(address)).await.unwrap();
    assert_eq!(within(dialler.read_u8()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(links.stats()[&Pair::forth()].refused, 1);
}

#[tokio::test]
async fn slow_link_keeps_order_and_throughput() {
    const DELAY: Duration = Duration::from_millis(500);
    // A link that let one chunk pass per delay would need longer than the limit of the test for these.
    const CHUNKS: usize = 400;
    let pair = Pair::new().await;
    let (mut dialler, mut server) = pair.connect().await;
    pair.links.impose(FAULT, &Pair::forth(), Rule::late(DELAY, DELAY));
    let begin = Instant::now();
    let chunk = numbered_bytes(1_000);
    let writer = tokio::spawn(async move {
        for _ in 0..CHUNKS {
            dialler.write_all(&chunk).await.unwrap();
            tokio::task::yield_now().await;
        }
        dialler
    });
    read(&mut server, 1).await;
    assert!(begin.elapsed() >= DELAY, "the first byte was early");
    let rest = read(&mut server, CHUNKS * 1_000 - 1).await;
    let expected: Vec<u8> = numbered_bytes(1_000).repeat(CHUNKS);
    assert!(rest == expected[1..], "the stream was changed");
    assert_eq!(pair.stats().bytes_delayed, (CHUNKS * 1_000) as u64);
    within(writer).await.unwrap();
}

#[tokio::test]
async fn canary_stops_at_the_cut_direction_only_and_is_not_counted() {
    let pair = Pair::new().await;
    let (forth, back) = (Pair::forth(), Pair::forth().reversed());
    for link in [&forth, &back] {
        assert!(pair.links.probe(link, LIMIT).await.unwrap().is_some());
    }
    pair.links.impose(FAULT, &forth, Rule::HOLD);
    assert_eq!(pair.links.probe(&forth, CANARY_WAIT).await.unwrap(), None);
    assert!(pair.links.probe(&back, LIMIT).await.unwrap().is_some());
    pair.links.lift(FAULT);
    assert!(pair.links.probe(&forth, LIMIT).await.unwrap().is_some());
    assert_eq!(pair.stats(), LinkStats::default());
}

#[tokio::test]
async fn canary_recovers_from_a_reset() {
    let pair = Pair::new().await;
    let link = Link::new(Endpoint::Clients, n(2));
    assert!(pair.links.probe(&link, LIMIT).await.unwrap().is_some());
    pair.links.reset(&link);
    let recovered = async { while pair.links.probe(&link, CANARY_WAIT).await.unwrap().is_none() {} };
    within(recovered).await;
}

#[tokio::test]
async fn link_opens_when_the_last_fault_is_lifted() {
    let pair = Pair::new().await;
    let link = Pair::forth();
    pair.links.impose(FaultId(1), &link, Rule::HOLD);
    pair.links.impose(FaultId(2), &link, Rule::HOLD);
    pair.links.lift(FaultId(1));
    assert!(pair.links.rule(&link).held);
    pair.links.heal_all();
    pair.links.heal_all();
    assert_eq!(pair.links.rule(&link), Rule::default());
}

#[tokio::test]
async fn dropped_links_close_listeners_and_connections() {
    let pair = Pair::new().await;
    let (mut dialler, _server) = pair.connect().await;
    let address = pair.address;
    drop(pair);
    assert!(within(dialler.read_u8()).await.is_err());
    within(async { while TcpStream::connect(address).await.is_ok() {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dialler_that_closes_while_it_is_looked_for_is_no_stranger() {
    let links = Links::new(Registry::default()).await.unwrap();
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = server.local_addr().unwrap();
    let address = links.listen_attributed(&n(2), upstream, Stranger::IsRefused).await.unwrap();
    // One that closes is forgotten; one that stays is refused and reported, and by then the other had its time.
    let closes = within(TcpStream::connect(address)).await.unwrap();
    let mut stays = within(TcpStream::connect(address)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(closes);
    assert!(within(stays.read_u8()).await.is_err());
    assert_eq!(links.strangers().count, 1);
}

/// A canary may be dialling at the moment in which another fault resets its pair: that is no trouble with loopback.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn resets_while_a_canary_dials_are_no_errors() {
    let pair = Pair::new().await;
    let links = pair.links.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let resetting = tokio::spawn(async move {
        while stopped.is_empty() {
            links.reset(&Pair::forth());
            tokio::task::yield_now().await;
        }
    });
    for probe in 0..2_000 {
        let sent = pair.links.probe(&Pair::forth(), Duration::from_millis(1)).await;
        assert!(sent.is_ok(), "probe {probe}: {sent:?}");
    }
    stop.send(()).unwrap();
    within(resetting).await.unwrap();
    // The first may meet the last reset.
    let mut arrived = None;
    for _ in 0..2 {
        arrived = arrived.or(pair.links.probe(&Pair::forth(), Duration::from_secs(5)).await.unwrap());
    }
    assert!(arrived.is_some(), "no canary passes although nobody resets");
}

const FRAMING: Framing = Framing { preamble_bytes: 3, header_bytes: 6 };

fn framed(message: u8) -> Vec<u8> {
    let mut bytes = vec![4, 0, 0, 0, 7, 7];
    bytes.extend([message; 4]);
    bytes
}

/// The messages in what follows the preamble; they must be whole.
fn messages(stream: &[u8]) -> Vec<u8> {
    let chunks = stream[3..].chunks(10);
    chunks.inspect(|chunk| assert_eq!(*chunk, framed(chunk[9]))).map(|chunk| chunk[9]).collect()
}

/// Sends a hundred messages over a link on which something happens to one in three; what arrived.
async fn hit(odds: Odds) -> Vec<u8> {
    let links = Links::new(Registry::default()).await.unwrap();
    links.set_framing(FRAMING).await.unwrap();
    let pair = Pair::with(links).await;
    let (mut dialler, mut server) = pair.connect().await;
    // The connection is older than the rule, and the rule comes in the middle of a message.
    dialler.write_all(b"hi!").await.unwrap();
    dialler.write_all(&framed(0)[..7]).await.unwrap();
    assert_eq!(read(&mut server, 3).await, b"hi!");
    eventually("the beginning of a message is taken", || pair.stats().bytes_in == 10).await;
    pair.links.impose(FAULT, &Pair::forth(), Rule::messages(odds));
    dialler.write_all(&framed(0)[7..]).await.unwrap();
    for message in 1..100 {
        dialler.write_all(&framed(message)).await.unwrap();
    }
    dialler.shutdown().await.unwrap();
    let mut arrived = b"hi!".to_vec();
    within(server.read_to_end(&mut arrived)).await.unwrap();
    let hits = pair.stats().messages;
    assert!((10..=60).contains(&hits), "{hits} of 100 messages were hit");
    let arrived = messages(&arrived);
    let expected = 100 + i64::from(odds.repeated > 0) * hits as i64 - i64::from(odds.lost > 0) * hits as i64;
    assert_eq!(arrived.len() as i64, expected);
    arrived
}

#[tokio::test]
async fn single_messages_are_lost_repeated_and_reordered_whole() {
    let all: Vec<u8> = (0..100).collect();
    let lost = hit(Odds { lost: 3, ..Odds::NONE }).await;
    assert!(lost.is_sorted(), "the others keep their order");
    let mut repeated = hit(Odds { repeated: 3, ..Odds::NONE }).await;
    assert!(repeated.is_sorted());
    repeated.dedup();
    assert_eq!(repeated, all);
    for odds in [Odds { swapped: 3, ..Odds::NONE }, Odds { late: 3, late_by: CANARY_WAIT, ..Odds::NONE }] {
        let mut reordered = hit(odds).await;
        assert!(!reordered.is_sorted(), "{odds}");
        reordered.sort_unstable();
        assert_eq!(reordered, all, "{odds}");
    }
}

#[tokio::test]
async fn trial_shows_what_happens_to_messages_and_canaries_are_left_alone() {
    let links = Links::new(Registry::default()).await.unwrap();
    assert_eq!(links.try_messages(&Pair::forth(), 10, LIMIT).await.unwrap(), None);
    links.set_framing(FRAMING).await.unwrap();
    let pair = Pair::with(links).await;
    let link = Pair::forth();
    let trial = async || pair.links.try_messages(&link, 200, LIMIT).await.unwrap().unwrap();
    let unhit = trial().await;
    assert_eq!((unhit.lost, unhit.repeated, unhit.overtaken), (0, 0, 0));
    for odds in [
        Odds { lost: 4, ..Odds::NONE },
        Odds { repeated: 4, ..Odds::NONE },
        Odds { swapped: 4, ..Odds::NONE },
        Odds { late: 4, late_by: CANARY_WAIT, ..Odds::NONE },
    ] {
        pair.links.impose(FAULT, &link, Rule::messages(odds));
        let seen = trial().await;
        assert_eq!(seen.lost > 0, odds.lost > 0, "{odds}: {seen:?}");
        assert_eq!(seen.repeated > 0, odds.repeated > 0, "{odds}: {seen:?}");
        assert_eq!(seen.overtaken > 0, odds.swapped + odds.late > 0, "{odds}: {seen:?}");
        assert!(seen.slowest >= odds.late_by);
        for _ in 0..20 {
            assert!(pair.links.probe(&link, LIMIT).await.unwrap().is_some());
        }
        pair.links.lift(FAULT);
    }
    assert_eq!(pair.stats(), LinkStats::default());
}

#[tokio::test]
async fn narrow_link_passes_its_rate_over_all_connections_together() {
    const RATE: u32 = 20_000;
    const BYTES: usize = 5_000;
    let pair = Pair::new().await;
    let mut connections = [pair.connect().await, pair.connect().await];
    pair.links.impose(FAULT, &Pair::forth(), Rule::narrow(NonZeroU32::new(RATE).unwrap()));
    let begin = Instant::now();
    for (dialler, _) in &mut connections {
        dialler.write_all(&numbered_bytes(BYTES)).await.unwrap();
    }
    for (_, server) in &mut connections {
        assert!(read(server, BYTES).await == numbered_bytes(BYTES), "the stream was changed");
    }
    let least = Duration::from_secs(1) * 2 * BYTES as u32 / RATE;
    assert!(begin.elapsed() >= least, "{:?} instead of {least:?}", begin.elapsed());
    assert_eq!(pair.stats().bytes_slowed, 2 * BYTES as u64);
    // What waits when it is healed does not wait any longer: at its rate this would take hours.
    pair.links.impose(FAULT, &Pair::forth(), Rule::narrow(NonZeroU32::MIN));
    let (dialler, server) = &mut connections[0];
    dialler.write_all(&numbered_bytes(BYTES)).await.unwrap();
    pair.links.lift(FAULT);
    assert!(read(server, BYTES).await == numbered_bytes(BYTES));
}

#[tokio::test]
async fn canary_takes_its_bytes_divided_by_the_rate() {
    let pair = Pair::new().await;
    let link = Pair::forth();
    pair.links.impose(FAULT, &link, Rule::narrow(NonZeroU32::new(10_000).unwrap()));
    let took = pair.links.probe_with(&link, 2_000, LIMIT).await.unwrap().unwrap();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert_eq!(pair.stats(), LinkStats::default());
}

#[tokio::test]
async fn half_open_connection_is_gone_for_its_destination_only() {
    for dialled_by_source in [true, false] {
        let pair = Pair::new().await;
        let (dialler, server) = pair.connect().await;
        let link = if dialled_by_source { Pair::forth() } else { Pair::forth().reversed() };
        let (mut source, mut destination) =
            if dialled_by_source { (dialler, server) } else { (server, dialler) };
        source.write_all(b"a").await.unwrap();
        assert_eq!(read(&mut destination, 1).await, b"a");
        assert!(pair.links.probe(&link, LIMIT).await.unwrap().is_some());
        let canary = pair.links.canary(&link).await.unwrap();

        pair.links.impose(FAULT, &link, Rule::HALF_OPEN);
        assert_eq!(within(destination.read_u8()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        source.write_all(b"lost").await.unwrap();
        eventually("its bytes are lost", || pair.links.stats()[&link].bytes_lost == 4).await;
        assert_eq!(pair.links.stats()[&link].halved, 1);
        assert!(timeout(Duration::ZERO, source.read_u8()).await.is_err(), "the source knows");
        let half = async {
            while pair.links.canary(&link).await != Some(CanaryEnds { received: false, ..canary }) {}
        };
        within(half).await;
        let (mut new_dialler, mut new_server) = pair.connect().await;
        new_dialler.write_all(b"new").await.unwrap();
        assert_eq!(read(&mut new_server, 3).await, b"new");

        pair.links.lift(FAULT);
        assert_eq!(within(source.read_u8()).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        new_dialler.write_all(b"on").await.unwrap();
        assert_eq!(read(&mut new_server, 2).await, b"on");
    }
}

#[tokio::test]
async fn end_of_a_stream_is_late_and_its_bytes_are_not() {
    const LATE: Duration = Duration::from_millis(300);
    let pair = Pair::new().await;
    let (mut dialler, mut server) = pair.connect().await;
    pair.links.impose(FAULT, &Pair::forth(), Rule::late_ends(LATE));
    let begin = Instant::now();
    dialler.write_all(b"bytes").await.unwrap();
    dialler.shutdown().await.unwrap();
    assert_eq!(read(&mut server, 5).await, b"bytes");
    eventually("the end is on its way", || pair.stats().late_ends == 1).await;
    server.write_all(b"answer").await.unwrap();
    assert_eq!(read(&mut dialler, 6).await, b"answer");
    assert_eq!(within(server.read(&mut [0])).await.unwrap(), 0);
    assert!(begin.elapsed() >= LATE, "{:?}", begin.elapsed());
    let link = Pair::forth();
    assert!(pair.links.probe(&link, LIMIT).await.unwrap().is_some());
    let took = pair.links.close_canary(&link, LIMIT).await.unwrap();
    assert!(took >= LATE, "{took:?}");
}

#[tokio::test]
async fn closed_link_ends_in_order_at_its_destination() {
    let pair = Pair::new().await;
    let (mut dialler, mut server) = pair.connect().await;
    server.write_all(b"before").await.unwrap();
    assert_eq!(read(&mut dialler, 6).await, b"before");
    pair.links.close(&Pair::forth().reversed());
    assert_eq!(within(dialler.read(&mut [0])).await.unwrap(), 0);
    dialler.write_all(b"last words").await.unwrap();
    drop(dialler);
    let mut rest = Vec::new();
    within(server.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"last words");
}

#[tokio::test]
async fn dialler_that_has_said_everything_at_once_is_heard() {
    let pair = Pair::new().await;
    for _ in 0..50 {
        let mut dialler = pair.dial().await;
        dialler.write_all(b"all").await.unwrap();
        dialler.shutdown().await.unwrap();
        let mut said = Vec::new();
        within(pair.accept().await.read_to_end(&mut said)).await.unwrap();
        assert_eq!(said, b"all");
    }
}
