//! Clients that read a byte a second, and clients that send one.

use super::*;
use crate::examples::block;

const READERS: usize = 50;
const WRITERS: usize = 50;
const SECONDS: usize = 5;

/// A client that reads all of its echo, slowly.
struct Reader {
    client: TcpStream,
    sent: usize,
    read: usize,
}

impl Reader {
    /// Sends what fits, and reads one byte.
    fn turn(&mut self) {
        while let Ok(length @ 1..) = self.client.write(&block()[self.sent % block().len()..]) {
            self.sent += length;
        }
        let mut byte = [0];
        self.client.set_nonblocking(false).expect("set_nonblocking");
        self.client.read_exact(&mut byte).expect("its echo");
        self.client.set_nonblocking(true).expect("set_nonblocking");
        assert_eq!(byte[0], block()[self.read], "byte {}", self.read);
        self.read += 1;
    }
}

#[test]
fn clients_that_read_or_send_a_byte_a_second_do_not_delay_an_honest_one() {
    let _exclusive = exclusive();
    let server = echo_server(&[]);
    let baseline = Baseline::after_first_client(&server.program, server.address);
    let honest_client = HonestClient::new(server.address);
    let mut readers: Vec<Reader> = (0..READERS)
        .map(|_| Reader {
            client: small_buffer_client(server.address),
            sent: 0,
            read: 0,
        })
        .collect();
    let writers: Vec<TcpStream> = (0..WRITERS).map(|_| dial(server.address)).collect();
    // Paces the clients.
    let (_never, clock) = channel::<()>();
    for second in 0..SECONDS {
        for writer in &writers {
            (&*writer)
                .write_all(&block()[second..=second])
                .expect("it is connected");
        }
        readers.iter_mut().for_each(Reader::turn);
        for mut writer in &writers {
            let mut byte = [0];
            writer.read_exact(&mut byte).expect("its echo");
            assert_eq!(byte[0], block()[second]);
        }
        let _ = clock.recv_timeout(PROMPT);
    }
    let sent: usize = readers.iter().map(|reader| reader.sent).sum();
    let amid = "50 that read a byte a second, and 50 that send one";
    println!("{amid}: {} KiB were taken", sent / KIB);
    // What each client sent and has not read, beyond what the kernel buffers.
    baseline.assert_growth(READERS * 2 * chrome_sockets::tcp::WINDOW + SLACK, amid);
    drop(readers);
    drop(writers);
    honest_client.assert_prompt(amid);
    echo_line(&dial(server.address), "proof of life");
    baseline.assert_descriptors_released();
    server.expect_success();
}
