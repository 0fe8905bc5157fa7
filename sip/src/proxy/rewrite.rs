//! Small rewritings that requests and responses share.

use crate::{
    message::{Editor, Message, Name, NameAddr},
    uri::escape_user,
};

/// The edited message. `None` where what was put in cannot be read again: then it is not sent.
pub(super) fn finish(edit: &Editor<'_>) -> Option<Message> {
    Message::parse(edit.build()).ok()
}

pub(super) fn contact_uri(message: &Message) -> Option<String> {
    let value = message.values(&Name::Contact).next()?;
    NameAddr::parse(value).map(|c| c.uri().to_owned())
}

/// A From or To value with another URI; display name, tag and parameters stay.
pub(super) fn with_uri(value: &str, uri: &str) -> String {
    let Some(parsed) = NameAddr::parse(value) else { return value.to_owned() };
    let display = parsed.display();
    let space = if display.is_empty() { "" } else { " " };
    let params = if parsed.params().is_empty() { String::new() } else { format!(";{}", parsed.params()) };
    format!("{display}{space}<{uri}>{params}")
}

/// Gives a From or To line another URI.
pub(super) fn set_uri_of(edit: &mut Editor<'_>, message: &Message, name: &Name, uri: &str) {
    if let Some(value) = message.header(name) {
        edit.set(name, &with_uri(value, uri));
    }
}

/// `user@realm` as a URI, with the user escaped.
pub(super) fn uri_of(aor: &str) -> String {
    match aor.rsplit_once('@') {
        Some((user, realm)) => format!("sip:{}@{realm}", escape_user(user)),
        None => format!("sip:{aor}"),
    }
}
