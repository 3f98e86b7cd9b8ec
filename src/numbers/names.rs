//! The forms in which a client may name something: a number, the number as a string, or Matrix's own id.

use std::{borrow::Cow, fmt, marker::PhantomData};

use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{KnownFormat, ObjectBuilder, OneOfBuilder, SchemaFormat, Type},
    },
};
use uuid::Uuid;

use super::GroupId;

/// Numbers are below this, so that every JSON reader keeps them whole.
const LIMIT: i64 = 1 << 53;

/// A user: a number or a user id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserRef {
    /// The number.
    Number(i64),
    /// The user id.
    Id(OwnedUserId),
}

/// A conversation: a number or a room id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThreadRef {
    /// The number.
    Number(i64),
    /// The room id.
    Room(OwnedRoomId),
}

/// A message: a number or an event id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageRef {
    /// The number.
    Number(i64),
    /// The event id.
    Event(OwnedEventId),
}

/// A group: a UUID or a room id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRef {
    /// The UUID.
    Uuid(GroupId),
    /// The room id.
    Room(OwnedRoomId),
}

/// How a form is read.
trait Form: Sized {
    /// What is expected, for the error.
    const EXPECTED: &'static str;
    fn number(number: i64) -> Option<Self>;
    fn text(text: &str) -> Option<Self>;
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number < LIMIT)
}

macro_rules! numbered {
    ($name:ident, $id:ident, $expected:literal) => {
        impl Form for $name {
            const EXPECTED: &'static str = $expected;

            fn number(number: i64) -> Option<Self> {
                (0..LIMIT).contains(&number).then_some(Self::Number(number))
            }

            fn text(text: &str) -> Option<Self> {
                number(text).map(Self::Number).or_else(|| text.try_into().ok().map(Self::$id))
            }
        }
    };
}
numbered!(UserRef, Id, "a user's number or id");
numbered!(ThreadRef, Room, "a conversation's number or room id");
numbered!(MessageRef, Event, "a message's number or event id");

impl Form for GroupRef {
    const EXPECTED: &'static str = "a group's UUID or room id";

    fn number(_: i64) -> Option<Self> {
        None
    }

    fn text(text: &str) -> Option<Self> {
        match Uuid::try_parse(text) {
            Ok(id) => Some(Self::Uuid(GroupId(id))),
            Err(_) => text.try_into().ok().map(Self::Room),
        }
    }
}

struct FormVisitor<T>(PhantomData<T>);

impl<T: Form> Visitor<'_> for FormVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::number(value).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        let number = i64::try_from(value).ok().and_then(T::number);
        number.ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        T::text(value).ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }
}

macro_rules! wire {
    ($($name:ident $example:literal $numbered:literal $pattern:expr),* $(,)?) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(FormVisitor(PhantomData))
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new()
                    .schema_type(Type::String)
                    .max_length(Some(255))
                    .pattern(Some($pattern))
                    .examples([$example]);
                if !$numbered {
                    return text.description(Some(<$name as Form>::EXPECTED)).into();
                }
                let number = ObjectBuilder::new()
                    .schema_type(Type::Integer)
                    .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
                    .minimum(Some(0))
                    .maximum(Some(LIMIT - 1));
                OneOfBuilder::new()
                    .item(number)
                    .item(text)
                    .description(Some(concat!("The number, as a number or a string, or Matrix's own id, such as ", $example)))
                    .into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}
/// Name and port of a server. Names that are IPv6 addresses in brackets are taken, too.
macro_rules! server {
    () => {
        r"[A-Za-z0-9.-]+(:([0-9]{1,4}|[1-5][0-9]{4}))?"
    };
}

wire!(
    UserRef "@alice:a.example" true concat!("^([0-9]{1,15}|@[!-9;-~]+:", server!(), ")$"),
    ThreadRef "!4Qy2:a.example" true "^([0-9]{1,15}|![!-~]+)$",
    MessageRef "$4Qy2" true concat!(r"^([0-9]{1,15}|\$[A-Za-z0-9_+/-]+(:", server!(), ")?)$"),
    GroupRef "0a7c9a4e-9b1f-8c2d-a5e1-3f5b7d9c1e2a" false
        "^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|![!-~]+)$",
);

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn a_user_is_named_by_number_or_id() {
        let of = |value: Value| from_value::<UserRef>(value).ok();
        assert_eq!(of(json!(7)), Some(UserRef::Number(7)));
        assert_eq!(of(json!("7")), Some(UserRef::Number(7)));
        assert_eq!(of(json!("@alice:a.example")), Some(UserRef::Id("@alice:a.example".try_into().unwrap())));
        for other in [
            json!(-1),
            json!(7.0),
            json!("+7"),
            json!(" 7"),
            json!(""),
            json!("alice"),
            json!(1u64 << 53),
            json!((1u64 << 53).to_string()),
            json!(null),
            json!(true),
        ] {
            assert_eq!(of(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn a_query_says_the_same() {
        #[derive(Deserialize)]
        struct Query {
            user_id: UserRef,
        }
        let of = |query: &str| {
            let uri = format!("/?{query}").parse().unwrap();
            axum::extract::Query::<Query>::try_from_uri(&uri).ok().map(|query| query.0.user_id)
        };
        assert_eq!(of("user_id=7"), Some(UserRef::Number(7)));
        assert_eq!(of("user_id=%40alice%3Aa.example"), Some(UserRef::Id("@alice:a.example".try_into().unwrap())));
        assert_eq!(of("user_id=x"), None);
    }

    #[test]
    fn a_group_has_no_number() {
        let of = |value: Value| from_value::<GroupRef>(value).ok();
        assert!(matches!(of(json!("0a7c9a4e-9b1f-8c2d-a5e1-3f5b7d9c1e2a")), Some(GroupRef::Uuid(_))));
        assert!(matches!(of(json!("!a:b.example")), Some(GroupRef::Room(_))));
        assert_eq!(of(json!(7)), None);
        assert_eq!(of(json!("7")), None);
    }
}
