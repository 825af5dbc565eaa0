//! Valid, invalid and random frames.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::protocol::arguments::CallError;
use crate::protocol::call;
use crate::protocol::frame::*;

const MAX: usize = Limits::DEFAULT.frame;

/// A binary frame by hand.
fn binary(header: &str, data: &[u8]) -> Bytes {
    let mut frame = (header.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(data);
    frame.into()
}

/// Reads a frame as a session does. Returns the data that its messages use.
fn read(encoding: Encoding, bytes: Bytes) -> Result<Vec<Bytes>, FrameError> {
    let Frame {
        mut messages,
        mut data,
        ..
    } = Frame::read(encoding, bytes, MAX)?;
    let mut taken = Vec::new();
    while let Some(message) = messages.next()? {
        let (_, mut parts) = message.into_call().expect("a function");
        while let Some(value) = parts.next() {
            taken.extend(data.take(value)?);
        }
    }
    data.finish()?;
    Ok(taken)
}

#[test]
fn data_is_taken_in_the_order_of_the_messages() {
    let header = r#"{"messages":[[1,"a",3],[2,"b",0],[3,"c",2]]}"#;
    let taken = read(Encoding::Binary, binary(header, b"abcde"));
    assert_eq!(taken, Ok(vec!["abc".into(), "".into(), "de".into()]));

    let header = r#"{"messages":[[1,"a","YWJj"],[2,"b",""],[3,"c","ZGU="]]}"#;
    let taken = read(Encoding::Text, header.into());
    assert_eq!(taken, Ok(vec!["abc".into(), "".into(), "de".into()]));
}

/// Reads all messages of a frame and returns their number.
fn read_all(bytes: Bytes) -> Result<usize, FrameError> {
    let mut frame = Frame::read(Encoding::Text, bytes, MAX)?;
    let mut count = 0;
    while frame.messages.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[test]
fn messages_are_read_one_by_one_with_any_white_space() {
    for (messages, count) in [
        ("[]", 0),
        ("[ \n ]", 0),
        ("[[]]", 1),
        ("[ [ ] , [ 1 , [ ] ]\t,[]\r\n]", 3),
        (r#"[["listen",["]","["]],["]]\"]]"]]"#, 2),
    ] {
        let text = format!(r#"{{"messages" : {messages} , "ack":1}}"#);
        assert_eq!(read_all(text.into()), Ok(count), "{messages}");
    }
    let many = format!(r#"{{"messages":[{}[]]}}"#, "[],".repeat(100_000));
    assert_eq!(read_all(many.into()), Ok(100_001));
}

#[test]
fn an_error_repeats_nothing_of_the_input() {
    let long = "x".repeat(10_000);
    for header in [
        format!(r#"{{"{long}":1}}"#),
        format!(r#"{{"ack":"{long}"}}"#),
        format!(r#"{{"ack":{long}}}"#),
    ] {
        let error = Frame::read(Encoding::Text, header.into(), MAX).expect_err("an error");
        let text = error.to_string();
        assert!(text.len() < 150 && !text.contains("xxx"), "{text}");
    }
}

#[test]
fn invalid_frames_are_rejected() {
    use FrameError::*;
    for (frame, error) in [
        (Bytes::new(), Short),
        (Bytes::from_static(&[0, 0, 0]), Short),
        (Bytes::from_static(&[1, 0, 0, 0]), Short),
        (Bytes::from_static(&[255, 255, 255, 255, b'{', b'}']), Short),
        (binary("{}", b"x"), DataLeft),
        (binary(r#"{"messages":[[1,"a",2]]}"#, b"x"), DataMissing),
        (binary(r#"{"messages":[[1,"a",-1]]}"#, b"x"), DataMissing),
        (binary(r#"{"messages":[[1,"a",1.5]]}"#, b"x"), DataMissing),
        (binary(r#"{"messages":[[1,"a",1e99]]}"#, b"x"), DataMissing),
        (
            Bytes::from(vec![0; MAX + 1]),
            TooLarge {
                length: MAX + 1,
                max: MAX,
            },
        ),
    ] {
        assert_eq!(
            read(Encoding::Binary, frame.clone()),
            Err(error),
            "{frame:?}"
        );
    }
    let bad_base64 = Message("its data is not base64");
    for text in ["YQ", "YR==", "Y Q=", "_-==", "YQ==YQ=="] {
        let header = json!({ "messages": [[1,"a", text]] }).to_string();
        assert_eq!(
            read(Encoding::Text, header.into()),
            Err(bad_base64.clone()),
            "{text}"
        );
    }
    for header in [
        "",
        "null",
        "[]",
        "1",
        "{",
        "{}x",
        r#"{"ack":-1}"#,
        r#"{"ack":1.5}"#,
        r#"{"ack":"1"}"#,
        r#"{"ack":1,"ack":2}"#,
        r#"{"messages":{}}"#,
        r#"[null,null,[]]"#,
        r#"{"other":1}"#,
        "\u{feff}{}",
    ] {
        let error = Frame::read(Encoding::Text, header.into(), MAX).map(drop);
        assert!(matches!(error, Err(Header(_))), "{header}: {error:?}");
    }
    for hello in ["{}", "1", r#"[[1],"a"]"#, r#"{"protocol":[1],"app":1}"#] {
        let text = format!(r#"{{"hello":{hello}}}"#);
        let frame = Frame::read(Encoding::Text, text.into(), MAX).expect("a frame");
        let hello = frame.into_hello().expect("a hello");
        assert!(
            matches!(parse_object::<Hello<'_>>(&hello), Err(Header(_))),
            "{hello:?}"
        );
    }
    for messages in ["[1]", "[{}]", "[null]", r#"["x"]"#, "[[],7]"] {
        let text = format!(r#"{{"messages":{messages}}}"#);
        let error = read_all(text.into());
        assert_eq!(error, Err(Message("not a list")), "{messages}");
    }
    let deep = format!(r#"{{"messages":[[{}]]}}"#, "[".repeat(100_000));
    assert!(Frame::read(Encoding::Text, deep.into(), MAX).is_err());
    assert!(Frame::read(Encoding::Text, Bytes::from_static(b"{\"ack\":\xff}"), MAX).is_err());
}

#[test]
fn a_small_slice_does_not_keep_its_frame_in_memory() {
    let header = r#"{"messages":[[1,"a",9],[2,"b",100000]]}"#;
    let frame = binary(header, &[7; 100_009]);
    let range = frame.as_ptr() as usize..frame.as_ptr() as usize + frame.len();
    let taken = read(Encoding::Binary, frame).expect("a frame");
    let inside = |bytes: &Bytes| range.contains(&(bytes.as_ptr() as usize));
    assert!(!inside(&taken[0]), "9 bytes keep all {}", range.len());
    assert!(inside(&taken[1]), "most of a frame was copied");
}

#[test]
fn written_frames_can_be_read() {
    let frame = write(
        Encoding::Binary,
        &[r#""ack":7"#, r#""messages":[[1,"a",3]]"#],
        b"abc",
    );
    assert_eq!(
        read(Encoding::Binary, frame.clone()),
        Ok(vec!["abc".into()])
    );
    assert_eq!(
        Frame::read(Encoding::Binary, frame, MAX)
            .map(|frame| frame.ack)
            .ok(),
        Some(Some(7))
    );

    let mut message = r#""messages":[[1,"a","#.to_owned();
    push_base64(&mut message, b"abc");
    message.push_str("]]");
    let frame = write(Encoding::Text, &[&message], &[]);
    assert_eq!(frame, r#"{"messages":[[1,"a","YWJj"]]}"#);
    assert_eq!(read(Encoding::Text, frame), Ok(vec!["abc".into()]));
    assert_eq!(write(Encoding::Text, &[], &[]), "{}");
}

/// Reads everything in a frame, which must not panic.
fn read_any(encoding: Encoding, bytes: Bytes) {
    let Ok(mut frame) = Frame::read(encoding, bytes, MAX) else {
        return;
    };
    if let Some(hello) = &frame.hello {
        let _ = parse_object::<Hello<'_>>(hello);
    }
    while let Ok(Some(message)) = frame.messages.next() {
        let _ = (message.kind(), message.event_names(|_| {}));
        if let Err(CallError::Frame(_)) = call::read(message, &mut frame.data) {
            return;
        }
    }
}

/// A valid frame.
fn valid_frame() -> impl Strategy<Value = (Encoding, Bytes)> {
    let function = prop::sample::select(vec![
        "tcp.send",
        "tcp.create",
        "tcp.connect",
        "tcp.secure",
        "tcpServer.listen",
        "tcpServer.update",
        "tcpServer.getSockets",
        "tcp.setKeepAlive",
        "udp.send",
        "udp.bind",
        "udp.update",
        "udp.getJoinedGroups",
    ]);
    let argument = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
        Just(json!(null)),
        Just(json!({ "name": "x", "persistent": true, "bufferSize": 7 })),
        Just(json!({ "tlsVersion": { "min": "tls1.2" } })),
        Just(json!([[[]]])),
    ];
    let call = (
        any::<u32>(),
        function,
        prop::collection::vec(argument, 0..6),
    );
    let data = prop::collection::vec(any::<u8>(), 0..99);
    (any::<bool>(), prop::collection::vec(call, 0..5), data).prop_map(|(is_binary, calls, data)| {
        let messages: Vec<Value> = calls
            .into_iter()
            .map(|(id, function, arguments)| {
                let mut message = vec![json!(id), json!(function)];
                message.extend(arguments);
                message.into()
            })
            .collect();
        let header = json!({ "ack": 1, "messages": messages }).to_string();
        match is_binary {
            true => (Encoding::Binary, binary(&header, &data)),
            false => (Encoding::Text, header.into()),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_any(Encoding::Binary, bytes.clone().into());
        read_any(Encoding::Text, bytes.into());
    }

    #[test]
    fn mutated_frames_are_read_or_refused(
        (encoding, frame) in valid_frame(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = frame.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if is_cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_any(encoding, bytes.into());
    }
}
