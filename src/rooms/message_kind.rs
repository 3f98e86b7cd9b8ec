//! What kind of message an event is to LinkIM's clients, and which part of it they show: the same in lists and in frames.
//!
//! Kinds are those of the old LinkIM (1 text, 2 image, 3 file) and OpenIM's content types beyond.

/// Encrypted: this server can't read it.
pub const ENCRYPTED: i64 = 0;
/// Text.
pub const TEXT: i64 = 1;
/// An image.
pub const IMAGE: i64 = 2;
/// A file.
pub const FILE: i64 = 3;
/// A sound.
pub const AUDIO: i64 = 103;
/// A film.
pub const VIDEO: i64 = 104;
/// A place.
pub const LOCATION: i64 = 109;
/// Something else, with a text that stands for it.
pub const CUSTOM: i64 = 110;

/// Types of events that are messages.
const MESSAGES: [&str; 3] = ["m.room.message", "m.sticker", "m.room.encrypted"];

/// Whether events of this type, without a state key, are messages.
pub fn is_message(event_type: &str) -> bool {
    MESSAGES.contains(&event_type)
}

/// The kind of a message by its event's type and its content's `msgtype`.
pub fn of(event_type: &str, msgtype: Option<&str>) -> i64 {
    match (event_type, msgtype) {
        ("m.room.encrypted", _) => ENCRYPTED,
        ("m.sticker", _) | (_, Some("m.image")) => IMAGE,
        (_, Some("m.text" | "m.notice" | "m.emote")) => TEXT,
        (_, Some("m.file")) => FILE,
        (_, Some("m.audio")) => AUDIO,
        (_, Some("m.video")) => VIDEO,
        (_, Some("m.location")) => LOCATION,
        _ => CUSTOM,
    }
}

/// What is shown of a message of this kind: where its file is (`url`, `mxc://…`), or its text (`body`); empty if it is encrypted.
pub fn shown(kind: i64, body: Option<String>, url: Option<String>) -> String {
    match kind {
        ENCRYPTED => None,
        IMAGE | FILE | AUDIO | VIDEO => url,
        _ => body,
    }
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are those of the old LinkIM and of OpenIM: clients have them compiled in.
    #[test]
    fn a_message_has_the_number_that_clients_know() {
        for (event_type, msgtype, kind) in [
            ("m.room.message", Some("m.text"), 1),
            ("m.room.message", Some("m.notice"), 1),
            ("m.room.message", Some("m.emote"), 1),
            ("m.room.message", Some("m.image"), 2),
            ("m.sticker", None, 2),
            ("m.room.message", Some("m.file"), 3),
            ("m.room.message", Some("m.audio"), 103),
            ("m.room.message", Some("m.video"), 104),
            ("m.room.message", Some("m.location"), 109),
            ("m.room.message", Some("org.example.poll"), 110),
            ("m.room.message", None, 110),
            ("m.room.encrypted", Some("m.text"), 0),
        ] {
            assert!(is_message(event_type), "{event_type}");
            assert_eq!(of(event_type, msgtype), kind, "{event_type} {msgtype:?}");
        }
        assert!(!is_message("m.reaction"));
    }

    #[test]
    fn files_show_where_they_are_and_the_rest_its_text() {
        let shown = |kind| shown(kind, Some("a cat".into()), Some("mxc://a.example/cat".into()));
        for kind in [IMAGE, FILE, AUDIO, VIDEO] {
            assert_eq!(shown(kind), "mxc://a.example/cat");
        }
        for kind in [TEXT, LOCATION, CUSTOM] {
            assert_eq!(shown(kind), "a cat");
        }
        assert_eq!(shown(ENCRYPTED), "");
    }
}
