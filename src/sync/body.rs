//! Answers under construction: JSON text, put together from texts that are JSON already.

use super::filter;
use crate::store::StoreError;

/// Appends a JSON string.
pub(super) fn push_string(out: &mut String, text: &str) {
    // Writing a str as JSON cannot fail: there is nothing to convert.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// A JSON object under construction.
#[derive(Debug, Default)]
pub(super) struct Object {
    json: String,
}

impl Object {
    /// Begins a member; its value is to be appended to what this answers.
    pub(super) fn member(&mut self, key: &str) -> &mut String {
        if !self.json.is_empty() {
            self.json.push(',');
        }
        push_string(&mut self.json, key);
        self.json.push(':');
        &mut self.json
    }

    /// Adds a member whose value is JSON.
    pub(super) fn put(&mut self, key: &str, json: &str) {
        self.member(key).push_str(json);
    }

    /// Adds a member, unless it is an object without members.
    pub(super) fn put_object(&mut self, key: &str, object: Self) {
        if !object.is_empty() {
            self.put(key, &object.finish());
        }
    }

    /// Adds a member `{"events": […]}`.
    pub(super) fn put_events(&mut self, key: &str, events: &Events) {
        let out = self.member(key);
        out.push_str("{\"events\":[");
        out.push_str(&events.json);
        out.push_str("]}");
    }

    /// Adds a member `{"events": […]}`, unless there are none.
    pub(super) fn put_some_events(&mut self, key: &str, events: &Events) {
        if !events.is_empty() {
            self.put_events(key, events);
        }
    }

    /// Whether it has no members.
    pub(super) fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// The JSON text.
    pub(super) fn finish(self) -> String {
        let mut out = String::with_capacity(self.json.len() + 2);
        out.push('{');
        out.push_str(&self.json);
        out.push('}');
        out
    }
}

/// Events, separated by commas.
#[derive(Debug, Default)]
pub(super) struct Events {
    json: String,
}

impl Events {
    /// Adds the event that `write` appends, cut to `fields`.
    pub(super) fn push(
        &mut self,
        fields: Option<&[String]>,
        write: impl FnOnce(&mut String) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if !self.json.is_empty() {
            self.json.push(',');
        }
        let Some(fields) = fields else { return write(&mut self.json) };
        let mut whole = String::new();
        write(&mut whole)?;
        let cut = filter::cut(&whole, fields).map_err(|error| StoreError::Damaged(error.to_string()))?;
        self.json.push_str(&cut);
        Ok(())
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.json.is_empty()
    }

    /// The JSON array.
    pub(super) fn array(&self) -> String {
        format!("[{}]", self.json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_is_json() {
        let mut events = Events::default();
        for n in 1..=2 {
            events
                .push(None, |out| {
                    out.push_str(&format!("{{\"n\":{n}}}"));
                    Ok(())
                })
                .unwrap();
        }
        let mut object = Object::default();
        object.put_events("none", &Events::default());
        object.put_some_events("left out", &Events::default());
        object.put_object("left out too", Object::default());
        object.put_events("two\"", &events);
        let json: serde_json::Value = serde_json::from_str(&object.finish()).unwrap();
        assert_eq!(json, serde_json::json!({"none": {"events": []}, "two\"": {"events": [{"n": 1}, {"n": 2}]}}));
    }
}
