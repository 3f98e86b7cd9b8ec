//! JSON as Matrix uses it.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// Deserialises a struct from a JSON object alone. serde's own implementations also take a list, field by field: for
/// `#[serde(deserialize_with = "…")]` on fields that are structs.
///
/// # Errors
/// The deserializer's, for anything but an object of the right shape.
pub fn json_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(Object(PhantomData))
}

/// The first `MAX` items of a list that somebody else made; the rest is read over and not kept. A list of numbers takes two
/// bytes an item on the wire and, kept as anything, many times that.
#[derive(Debug)]
pub struct First<T, const MAX: usize> {
    /// The items.
    pub items: Vec<T>,
    /// Whether there were more.
    pub more: bool,
}

impl<T, const MAX: usize> Default for First<T, MAX> {
    fn default() -> Self {
        Self { items: Vec::new(), more: false }
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for First<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for List<T, MAX> {
            type Value = First<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut first = First::default();
                while first.items.len() < MAX {
                    match list.next_element()? {
                        Some(item) => first.items.push(item),
                        None => return Ok(first),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    first.more = true;
                }
                Ok(first)
            }
        }

        deserializer.deserialize_seq(List(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_first_are_kept() {
        for (text, items, more) in
            [("[]", vec![], false), ("[1,2]", vec![1, 2], false), ("[1,2,3,{}]", vec![1, 2], true)]
        {
            let first: First<u8, 2> = serde_json::from_str(text).unwrap();
            assert_eq!((first.items, first.more), (items, more), "{text}");
        }
        for text in ["{}", "1", "[1,2,3", "[1,-1]"] {
            assert!(serde_json::from_str::<First<u8, 2>>(text).is_err(), "{text}");
        }
    }
}
