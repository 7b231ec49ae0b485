//! Encoding, joining and reading back clips.

use super::*;

/// A moving gradient with an edge.
fn picture(k: u32, side: u32) -> Vec<u8> {
    let mut rgb = Vec::new();
    for y in 0..side {
        for x in 0..side {
            let inside = (x + k) % side < side / 2 && y > side / 4;
            let base = if inside { [150, 112, 100] } else { [90, 116, 130] };
            rgb.extend(base.map(|c: u32| (c + x / 4 + y / 4).min(255) as u8));
        }
    }
    rgb
}

fn clip(settings: &VideoSettings, lengths: &[u32], path: &Path) -> Vec<Vec<u8>> {
    let mut muxer: Option<Muxer> = None;
    let mut pictures = Vec::new();
    for (episode, length) in lengths.iter().enumerate() {
        let mut encoder = Encoder::open(settings, 64, 64, 20).unwrap();
        let mut packets = Vec::new();
        for k in 0..*length {
            pictures.push(picture(k + 5 * episode as u32, 64));
            encoder.encode(pictures.last().unwrap(), &mut packets).unwrap();
        }
        encoder.finish(&mut packets).unwrap();
        assert_eq!(packets.len(), *length as usize, "one packet a frame");
        assert!(packets[0].key);
        let muxer = muxer.get_or_insert_with(|| Muxer::create(path, encoder.header(), 20).unwrap());
        packets.iter().for_each(|packet| muxer.write(&packet.bytes, packet.key).unwrap());
    }
    muxer.unwrap().finish().unwrap();
    pictures
}

fn psnr(a: &[u8], b: &[u8]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (sum / a.len() as f64)).log10()
}

/// Two episodes back to back, one frame long ones between, decode to their own pictures in order.
#[test]
fn joined_episodes_decode_to_their_pictures_at_exactly_k_over_fps() {
    for settings in [VideoSettings::h264(), VideoSettings::av1()] {
        let folder = std::env::temp_dir().join(format!("worldloom-video-{}-{:?}", std::process::id(), settings.codec));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("clip.mp4");
        let pictures = clip(&settings, &[12, 1, 1, 7], &path);
        let mut decoder = Decoder::open(&path, 20.0).unwrap();
        for (k, expected) in pictures.iter().enumerate() {
            let (index, found) = decoder.next().unwrap().unwrap();
            assert_eq!(index, k as u64);
            let quality = psnr(expected, &found.rgb);
            assert!(quality > 30.0, "{settings:?} frame {k}: {quality:.1} dB");
        }
        assert!(decoder.next().unwrap().is_none());
        for target in [13, 0, 20, 12] {
            decoder.seek(target).unwrap();
            let found = loop {
                let (index, found) = decoder.next().unwrap().unwrap();
                assert!(index <= target, "seek passed {target} and gave {index}");
                if index == target {
                    break found;
                }
            };
            assert!(psnr(&pictures[target as usize], &found.rgb) > 30.0);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn packets_read_back_and_written_again_give_the_same_file() {
    for settings in [VideoSettings::h264(), VideoSettings::av1()] {
        let folder = std::env::temp_dir().join(format!("worldloom-remux-{}-{:?}", std::process::id(), settings.codec));
        std::fs::create_dir_all(&folder).unwrap();
        let (first, second) = (folder.join("a.mp4"), folder.join("b.mp4"));
        clip(&settings, &[9, 4], &first);
        let mut demuxer = Demuxer::open(&first).unwrap();
        let mut muxer = Muxer::create(&second, &demuxer.header(settings.codec).unwrap(), 20).unwrap();
        while let Some(packet) = demuxer.next().unwrap() {
            muxer.write(&packet.bytes, packet.key).unwrap();
        }
        muxer.finish().unwrap();
        assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap(), "{:?} differs", settings.codec);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn frame_k_is_shown_at_exactly_k_over_fps() {
    let folder = std::env::temp_dir().join(format!("worldloom-times-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("clip.mp4");
    clip(&VideoSettings::h264(), &[5, 30, 1], &path);
    let (mut input, _) = open_input(&path).unwrap();
    let stream = input.stream(0).unwrap();
    let (base, rate) = (stream.time_base(), stream.avg_frame_rate());
    assert_eq!(i64::from(rate.0), 20 * i64::from(rate.1), "average frame rate {rate}");
    assert_eq!((stream.start_time(), stream.frames()), (0, 36));
    assert_eq!(stream.duration() * i64::from(base.0) * 20, 36 * i64::from(base.1), "duration");
    let times: Vec<i64> = input.packets().map(|(_, packet)| packet.pts().unwrap()).collect();
    for (k, pts) in times.iter().enumerate() {
        assert_eq!(pts * i64::from(base.0) * 20, k as i64 * i64::from(base.1), "frame {k} has pts {pts} of {base}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn encoder_versions_name_x264() {
    let versions = versions(&VideoSettings::h264()).unwrap();
    assert!(versions.iter().any(|(name, version)| name == "x264" && !version.is_empty()), "{versions:?}");
}
