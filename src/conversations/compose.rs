//! What the events of LinkIM's messages say.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedUserId};

use crate::rooms::{content::object, message_kind as kind};

/// A message that is to be sent.
#[derive(Clone, Debug, Default)]
pub struct NewMessage {
    /// [`kind::TEXT`], [`kind::IMAGE`] or [`kind::FILE`].
    pub kind: i64,
    /// The text; of a file, the caption or nothing.
    pub text: String,
    /// The file of an image or a file.
    pub file: Option<Attachment>,
    /// Whom it mentions.
    pub at: Vec<OwnedUserId>,
    /// Whether it mentions everybody.
    pub at_all: bool,
    /// What it quotes.
    pub quotes: Option<OwnedEventId>,
}

/// A file that was uploaded.
#[derive(Clone, Debug, Default)]
pub struct Attachment {
    /// `mxc://…`
    pub url: String,
    /// Its name.
    pub name: Option<String>,
    /// Its media type.
    pub media_type: Option<String>,
    /// Its bytes.
    pub size: Option<i64>,
    /// Pixels from left to right.
    pub width: Option<i64>,
    /// Pixels from top to bottom.
    pub height: Option<i64>,
}

/// Why a message can't be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// It has no text, or spaces alone.
    #[error("the text is empty")]
    Blank,
    /// The text is too long.
    #[error("the text has more than {0} characters")]
    TooLong(usize),
    /// Only texts, images and files are sent.
    #[error("kind is 1 (text), 2 (image) or 3 (file)")]
    Kind,
    /// An image or a file names none.
    #[error("url is missing")]
    NoFile,
    /// A number is not one that an event can have.
    #[error("{0} is no number from 0 to 2^53")]
    Number(&'static str),
}

/// Holds that a text may be sent.
pub(super) fn check_text(text: &str, limit: usize) -> Result<(), ComposeError> {
    if text.trim().is_empty() {
        return Err(ComposeError::Blank);
    }
    // A text of at most so many bytes has at most so many characters.
    if text.len() > limit && text.chars().count() > limit {
        return Err(ComposeError::TooLong(limit));
    }
    Ok(())
}

/// A text.
pub(super) fn text(body: String) -> CanonicalJsonObject {
    object([("body", body.into()), ("msgtype", "m.text".into())])
}

/// A text in the place of another one.
pub(super) fn edit(target: &OwnedEventId, body: String) -> CanonicalJsonObject {
    let mut content = text(format!("* {body}"));
    content.insert("m.new_content".into(), text(body).into());
    let relation = object([("event_id", target.as_str().into()), ("rel_type", "m.replace".into())]);
    content.insert("m.relates_to".into(), relation.into());
    content
}

/// The content of a message.
pub(super) fn content(new: NewMessage, limit: usize) -> Result<CanonicalJsonObject, ComposeError> {
    let mut content = match (new.kind, new.file) {
        (kind::TEXT, _) => {
            check_text(&new.text, limit)?;
            text(new.text)
        }
        (kind::IMAGE | kind::FILE, None) => return Err(ComposeError::NoFile),
        (kind::IMAGE | kind::FILE, Some(file)) => {
            if !new.text.is_empty() {
                check_text(&new.text, limit)?;
            }
            attached(new.kind, new.text, file)?
        }
        _ => return Err(ComposeError::Kind),
    };
    if !new.at.is_empty() || new.at_all {
        let mut mentions = CanonicalJsonObject::new();
        if !new.at.is_empty() {
            let users = new.at.iter().map(|user| CanonicalJsonValue::from(user.as_str())).collect::<Vec<_>>();
            mentions.insert("user_ids".into(), users.into());
        }
        if new.at_all {
            mentions.insert("room".into(), true.into());
        }
        content.insert("m.mentions".into(), mentions.into());
    }
    if let Some(quoted) = new.quotes {
        let reply = object([("event_id", quoted.as_str().into())]);
        content.insert("m.relates_to".into(), object([("m.in_reply_to", reply.into())]).into());
    }
    Ok(content)
}

fn attached(kind: i64, caption: String, file: Attachment) -> Result<CanonicalJsonObject, ComposeError> {
    let name = file.name.unwrap_or_default();
    let msgtype = if kind == kind::IMAGE { "m.image" } else { "m.file" };
    let body = match (caption.is_empty(), name.is_empty()) {
        (false, _) => caption,
        (true, false) => name.clone(),
        (true, true) => if kind == kind::IMAGE { "image" } else { "file" }.to_owned(),
    };
    let mut info = CanonicalJsonObject::new();
    if let Some(media_type) = file.media_type {
        info.insert("mimetype".into(), media_type.into());
    }
    for (key, name, value) in [("size", "size", file.size), ("w", "width", file.width), ("h", "height", file.height)] {
        let Some(value) = value else { continue };
        let number = ruma::Int::new(value).filter(|_| value >= 0).ok_or(ComposeError::Number(name))?;
        info.insert(key.into(), CanonicalJsonValue::Integer(number));
    }
    let mut content =
        object([("body", body.into()), ("msgtype", msgtype.into()), ("url", file.url.into()), ("info", info.into())]);
    if !name.is_empty() {
        content.insert("filename".into(), name.into());
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_not_bytes() {
        let limit = 5;
        assert_eq!(check_text("一二三四五", limit), Ok(()));
        assert_eq!(check_text("一二三四五六", limit), Err(ComposeError::TooLong(5)));
        assert_eq!(check_text("abcdef", limit), Err(ComposeError::TooLong(5)));
        for blank in ["", " ", "\n\t", "\u{3000}"] {
            assert_eq!(check_text(blank, limit), Err(ComposeError::Blank), "{blank:?}");
        }
    }

    #[test]
    fn a_file_is_called_by_its_caption_then_its_name() {
        let file = |name: Option<&str>| Attachment {
            url: "mxc://a.example/1".into(),
            name: name.map(str::to_owned),
            ..Attachment::default()
        };
        let body = |text: &str, name| {
            let new =
                NewMessage { kind: kind::FILE, text: text.into(), file: Some(file(name)), ..NewMessage::default() };
            content(new, 10).unwrap().remove("body").unwrap().as_str().unwrap().to_owned()
        };
        assert_eq!(body("look", Some("a.txt")), "look");
        assert_eq!(body("", Some("a.txt")), "a.txt");
        assert_eq!(body("", None), "file");
    }
}
