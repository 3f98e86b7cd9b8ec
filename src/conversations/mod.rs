//! Conversations: LinkIM's meaning over rooms that somebody is in.
//!
//! A conversation is a room of the user's: with one other person if it is a direct room (`direct`), else a group. The list
//! (`list`, `entry`), the history (`history`, `message`, `people`) and what the user decides for themselves (`settings`,
//! `receiving`) are views of the same rooms, events, receipts and account data that Matrix clients have. Messages are sent,
//! edited, withdrawn and restored by `sending` and `withdrawing`. Decisions: spec/decisions/0018-conversations.md.

mod compose;
mod direct;
pub mod entry;
pub mod history;
pub mod list;
pub mod message;
pub mod people;
mod place;
mod reading;
mod receiving;
mod roles;
mod searching;
pub mod sending;
pub mod settings;
pub mod withdrawing;

pub use self::{
    compose::{Attachment, ComposeError, NewMessage},
    direct::DirectRooms,
    history::HistoryReader,
    list::Conversations,
    place::{ConversationRef, PlaceError},
    reading::{MarkRead, ReadMarkError},
    receiving::{ReceiveNothing, receives},
    searching::MessageSearch,
    sending::{MessageError, Messages, Sent},
    settings::Settings,
};

#[cfg(test)]
mod schemas_tests;
