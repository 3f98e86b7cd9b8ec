//! What a request may leave out, and which of its fields go together, where its type alone cannot say it.

use utoipa::openapi::{
    AllOfBuilder, Components, Object, OneOfBuilder, OpenApi, Ref, RefOr, Required, Schema, Type,
    schema::{AnyOfBuilder, SchemaType},
};

/// The ways to name a conversation, of which a request has one (`place::Named`).
const NAMES: &[(&str, &str)] =
    &[("thread_id", "ThreadRef"), ("group_id", "GroupRef"), ("the_other_person_id", "UserRef")];

/// Requests that need no body.
const BODILESS: &[&str] = &["/account/logout", "/media/upload"];

/// Adds it to the document.
pub(super) fn add(document: &mut OpenApi) {
    for path in BODILESS {
        let operation = document.paths.paths.get_mut(*path).and_then(|item| item.post.as_mut());
        if let Some(RefOr::T(body)) = operation.and_then(|operation| operation.request_body.as_mut()) {
            body.required = Some(Required::False);
        }
    }
    let components = document.components.get_or_insert_default();
    also(components, "Named", one_name());
    also(components, "MessageContent", something_to_say());
}

/// Makes a type of which `condition` must hold, too.
fn also(components: &mut Components, name: &str, condition: Schema) {
    if let Some(plain) = components.schemas.remove(name) {
        let both = AllOfBuilder::new().item(plain).item(RefOr::T(condition));
        components.schemas.insert(name.to_owned(), both.into());
    }
}

fn one_name() -> Schema {
    let mut ways = OneOfBuilder::new();
    for (given, kind) in NAMES {
        let mut way = Object::builder().property(*given, Ref::from_schema_name(*kind)).required(*given);
        for (absent, _) in NAMES.iter().filter(|(name, _)| name != given) {
            way = way.property(*absent, Object::with_type(Type::Null));
        }
        ways = ways.item(way);
    }
    Schema::OneOf(ways.build())
}

/// A text, or a file with or without one.
fn something_to_say() -> Schema {
    let kind = |kinds: Vec<Option<i64>>| {
        let types = SchemaType::from_iter([Type::Integer, Type::Null]);
        Object::builder().schema_type(types).enum_values(Some(kinds))
    };
    let text = |pattern: &str| Object::builder().schema_type(Type::String).pattern(Some(pattern));
    let caption = OneOfBuilder::new().item(text(r"^$|\S")).item(Object::with_type(Type::Null));
    let message =
        Object::builder().property("text", text(r"\S")).property("kind", kind(vec![Some(1), None])).required("text");
    let file = Object::builder()
        .property("text", caption)
        .property("kind", kind(vec![Some(2), Some(3)]))
        .property("url", Object::with_type(Type::String))
        .required("kind")
        .required("url");
    Schema::AnyOf(AnyOfBuilder::new().item(message).item(file).build())
}
