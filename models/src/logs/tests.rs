//! What a run leaves behind, undisturbed and killed.

use super::*;

const COLUMNS: [&str; 3] = ["loss", "rate", "grad/norm"];

fn row(logs: &mut Logs, step: u64) {
    let loss = 1.0 / step as f64;
    match step % 3 {
        0 => logs.write(step, &[("grad/norm", 1e300 * loss), ("loss", loss)]),
        1 => logs.write(step, &[("loss", loss), ("rate", 3e-4)]),
        _ => logs.write(step, &[("loss", loss)]),
    }
    .unwrap();
}

fn text(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

/// A reader of event files that shares no code with the writer: its CRC goes bit by bit, its parser by field.
mod reader {
    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = !0u32;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            }
        }
        let crc = u64::from(!crc);
        ((((crc >> 15) | (crc << 17)) + 0xa282_ead8) & 0xffff_ffff) as u32
    }

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value += u64::from(byte & 127) << shift;
            if byte < 128 {
                break;
            }
        }
        value
    }

    /// `(field, number or 0, contents)` of every field of a message.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let (number, size) = match key & 7 {
                0 => (varint(&mut bytes), 0),
                1 => (0, 8),
                2 => (0, varint(&mut bytes) as usize),
                5 => (0, 4),
                other => panic!("wire type {other}"),
            };
            found.push((key >> 3, number, &bytes[..size]));
            bytes = &bytes[size..];
        }
        found
    }

    #[derive(Debug, Default, PartialEq)]
    pub struct Event {
        pub wall_time: f64,
        pub step: u64,
        pub version: String,
        pub starts: bool,
        pub values: Vec<(String, f32)>,
    }

    pub fn read(mut bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(u32_at(bytes, 8), crc(&bytes[..8]), "checksum of the length");
            let data = &bytes[12..12 + length];
            assert_eq!(u32_at(bytes, 12 + length), crc(data), "checksum of the data");
            let mut event = Event::default();
            for (field, number, contents) in fields(data) {
                match field {
                    1 => event.wall_time = f64::from_le_bytes(contents.try_into().unwrap()),
                    2 => event.step = number,
                    3 => event.version = String::from_utf8(contents.to_vec()).unwrap(),
                    5 => {
                        for (_, _, value) in fields(contents) {
                            let parts = fields(value);
                            let tag = String::from_utf8(parts[0].2.to_vec()).unwrap();
                            event.values.push((tag, f32::from_le_bytes(parts[1].2.try_into().unwrap())));
                        }
                    }
                    7 => event.starts = fields(contents) == [(1, 1, &[][..])],
                    other => panic!("field {other}"),
                }
            }
            events.push(event);
            bytes = &bytes[16 + length..];
        }
        events
    }
}

#[test]
fn the_tables_hold_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut logs = Logs::open(dir.path(), &COLUMNS, None).unwrap();
    row(&mut logs, 1);
    row(&mut logs, 3);
    logs.write(1 << 40, &[("loss", f64::NAN), ("rate", f64::NEG_INFINITY), ("grad/norm", 0.1 + 0.2)]).unwrap();
    logs.sync().unwrap();
    let csv = "step,loss,rate,grad/norm\n1,1.0,0.0003,\n3,0.3333333333333333,,3.3333333333333335e299\n\
               1099511627776,NaN,-inf,0.30000000000000004\n";
    assert_eq!(text(dir.path(), "metrics.csv"), csv);
    let jsonl = "{\"step\":1,\"loss\":1.0,\"rate\":0.0003}\n\
                 {\"step\":3,\"loss\":0.3333333333333333,\"grad/norm\":3.3333333333333335e299}\n\
                 {\"step\":1099511627776,\"loss\":null,\"rate\":null,\"grad/norm\":0.30000000000000004}\n";
    assert_eq!(text(dir.path(), "metrics.jsonl"), jsonl);
    for line in jsonl.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(row["step"].is_u64(), "{row}");
    }
}

#[test]
fn an_event_file_holds_every_value_with_its_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut logs = Logs::open(dir.path(), &COLUMNS, None).unwrap();
    row(&mut logs, 1);
    logs.write(300, &[("grad/norm", f64::INFINITY)]).unwrap();
    let events = reader::read(&std::fs::read(dir.path().join("events.out.tfevents.0000000001.worldloom")).unwrap());
    assert_eq!(events.len(), 4);
    assert_eq!(events[0].version, "brain.Event:2");
    assert!(events[1].starts && events[1].step == 0, "{events:?}");
    assert_eq!((events[2].step, events[3].step), (1, 300));
    assert_eq!(events[2].values, [("loss".to_owned(), 1.0), ("rate".to_owned(), 3e-4)]);
    assert_eq!(events[3].values, [("grad/norm".to_owned(), f32::INFINITY)]);
    assert!(events.iter().all(|event| event.wall_time > 1.7e9), "{events:?}");
}

#[test]
fn a_run_killed_anywhere_in_a_row_and_resumed_has_the_tables_of_an_undisturbed_one() {
    let whole = tempfile::tempdir().unwrap();
    let mut logs = Logs::open(whole.path(), &COLUMNS, None).unwrap();
    (1..=9).for_each(|step| row(&mut logs, step));
    let names = ["metrics.csv", "metrics.jsonl"];
    let expected = names.map(|name| text(whole.path(), name));
    for (which, name) in names.iter().enumerate() {
        // The checkpoint is of step 5; the kill comes anywhere after row 5, in either file.
        let row_five: usize = expected[which].split_inclusive('\n').take(6 - which).map(str::len).sum();
        // Every seventh byte, and the newline alone missing: each cut waits for the disk twice.
        for cut in (row_five..=expected[which].len()).step_by(7).chain([expected[which].len() - 1]) {
            let dir = tempfile::tempdir().unwrap();
            for (name, bytes) in names.iter().zip(&expected) {
                std::fs::write(dir.path().join(name), bytes).unwrap();
            }
            std::fs::write(dir.path().join(name), &expected[which].as_bytes()[..cut]).unwrap();
            let mut logs = Logs::open(dir.path(), &COLUMNS, Some(5)).unwrap();
            assert_eq!(logs.last_step(), Some(5));
            (6..=9).for_each(|step| row(&mut logs, step));
            assert_eq!(names.map(|name| text(dir.path(), name)), expected, "{name} cut at byte {cut}");
            assert!(!dir.path().join(format!("{name}.part")).exists());
        }
    }
}

#[test]
fn a_resumed_run_tells_tensorboard_where_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut logs = Logs::open(dir.path(), &COLUMNS, None).unwrap();
    (1..=9).for_each(|step| row(&mut logs, step));
    drop(logs);
    let mut logs = Logs::open(dir.path(), &COLUMNS, Some(5)).unwrap();
    row(&mut logs, 6);
    let events = reader::read(&std::fs::read(dir.path().join("events.out.tfevents.0000000002.worldloom")).unwrap());
    assert!(events[1].starts && events[1].step == 6, "{events:?}");
    assert_eq!(events[2].step, 6);
}

#[test]
fn a_resumed_run_without_logs_begins_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut logs = Logs::open(&dir.path().join("deep/run"), &COLUMNS, Some(0)).unwrap();
    row(&mut logs, 1);
    assert_eq!(text(dir.path(), "deep/run/metrics.csv"), "step,loss,rate,grad/norm\n1,1.0,0.0003,\n");
}

#[test]
fn what_would_spoil_the_tables_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut logs = Logs::open(dir.path(), &COLUMNS, None).unwrap();
    row(&mut logs, 4);
    let before = text(dir.path(), "metrics.csv");
    let refused = |result: Result<()>, word: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(word), "expected `{word}`, found: {message}");
    };
    refused(logs.write(4, &[]), "step 4 comes after step 4");
    refused(logs.write(5, &[("lose", 1.0)]), "`lose` is no column");
    refused(logs.write(5, &[("loss", 1.0), ("loss", 2.0)]), "two values");
    refused(Logs::open(dir.path(), &COLUMNS, None).map(drop), "has been recorded here");
    refused(Logs::open(dir.path(), &COLUMNS[..2], Some(4)).map(drop), "step,loss,rate");
    refused(Logs::open(dir.path(), &["a", "a"], Some(4)).map(drop), "two columns");
    refused(Logs::open(dir.path(), &["a,b"], Some(4)).map(drop), "a,b");
    assert_eq!(text(dir.path(), "metrics.csv"), before);
    std::fs::write(dir.path().join("metrics.csv"), format!("{before}notes\n5,1.0,,\n")).unwrap();
    refused(Logs::open(dir.path(), &COLUMNS, Some(9)).map(drop), "`notes` is no row");
}
