//! What no key can be asked alone: settings that need or exclude each other.

use super::{
    keys::{self, Effect},
    mistakes::{Mistake, Warning},
    read::Reader,
    sections::Config,
};

/// Adds the mistakes that lie between keys. Whether a key is there is asked of the reader, so that a wrong value is not also
/// reported as a missing one.
pub(super) fn check(reader: &mut Reader, config: &Config) {
    if reader.incomplete() {
        return;
    }
    both(reader, "tls.certificate", "tls.key");
    both(reader, "email.smtp_url", "email.from");
    both(reader, "turn.username", "turn.password");
    excludes(reader, "turn.shared_secret", "turn.username");
    excludes(reader, "turn.shared_secret", "turn.password");
    listeners(reader, config);
}

/// Two keys that are of use only together.
fn both(reader: &mut Reader, one: &str, other: &str) {
    for (there, missing) in [(one, other), (other, one)] {
        if let Some(place) = reader.place(there)
            && reader.place(missing).is_none()
        {
            reader.mistake(Mistake::new(place, there, format!("found without {missing}; allowed: both or neither")));
        }
    }
}

/// Two keys that contradict each other.
fn excludes(reader: &mut Reader, one: &str, other: &str) {
    if let (Some(_), Some(place)) = (reader.place(one), reader.place(other)) {
        reader.mistake(Mistake::new(place, other, format!("found beside {one}; allowed: one of them")));
    }
}

fn listeners(reader: &mut Reader, config: &Config) {
    let listen = &config.listen;
    let no_tls = reader.place("tls.certificate").is_none() && reader.place("tls.key").is_none();
    if let Some(place) = reader.place("listen.federation")
        && !listen.federation.is_empty()
        && no_tls
    {
        let message = "found an HTTPS listener without a certificate; allowed: together with [tls] certificate and key";
        reader.mistake(Mistake::new(place, "listen.federation", message));
    }
    if let Some(place) = reader.place("listen.grpc")
        && !listen.grpc.is_empty()
        && reader.place("linkim.grpc_token").is_none()
    {
        let message = "found a gRPC listener without a token; allowed: together with [linkim] grpc_token";
        reader.mistake(Mistake::new(place, "listen.grpc", message));
    }
    if let Some(place) = reader.place("listen.client")
        && listen.client.is_empty()
        && listen.federation.is_empty()
    {
        let message = "found no listener at all; allowed: at least one address here or in listen.federation";
        reader.mistake(Mistake::new(place, "listen.client", message));
    }
    let all = [
        ("listen.client", &listen.client),
        ("listen.federation", &listen.federation),
        ("listen.metrics", &listen.metrics),
        ("listen.grpc", &listen.grpc),
    ];
    let mut seen = Vec::new();
    for (path, addresses) in all {
        for address in addresses.iter().filter(|address| address.port() != 0) {
            if seen.contains(&address)
                && let Some(place) = reader.place(path)
            {
                let message = format!("found {address} twice; allowed: each address in one listener, once");
                reader.mistake(Mistake::new(place, path, message));
            }
            seen.push(address);
        }
    }
}

/// One warning for each key that is set and has no effect yet.
pub(super) fn warnings(reader: &Reader) -> Vec<Warning> {
    let ineffective = |path: &str| keys::find(path).is_some_and(|key| key.effect == Effect::NotYet);
    let set = reader.set().filter(|(path, _)| ineffective(path));
    set.map(|(path, place)| Warning { place: place.clone(), key: path.to_owned() }).collect()
}
