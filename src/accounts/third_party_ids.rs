//! Phone numbers and e-mail addresses as names of accounts: one form for each, and the services that add and remove them.
//!
//! Source: Matrix appendices, "3PID Types"; Client-Server API, "Adding Account Administrative Contact Information".

use std::sync::Arc;

use ruma::OwnedUserId;

use super::{
    codes::{CodeRefused, Codes, Purpose},
    phone_numbers,
    session::Session,
};
use crate::{
    clock::Clock,
    store::{
        Read, Store, StoreError, WriteTx, accounts,
        ids::{self, UserNid},
        third_party_ids::{self, ThirdPartyIdRow},
    },
};

/// Longest e-mail address, in bytes (RFC 5321, section 4.5.3.1.3, less the angle brackets).
const MAX_EMAIL: usize = 254;

/// Addresses of an account at most.
const MAX_OF_USER: usize = 10;

/// What kind of address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Medium {
    /// An e-mail address.
    Email,
    /// A phone number.
    Msisdn,
}

impl Medium {
    /// Its name in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Msisdn => "msisdn",
        }
    }

    /// Reads the spec's name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "email" => Some(Self::Email),
            "msisdn" => Some(Self::Msisdn),
            _ => None,
        }
    }
}

/// An address in the one form that is stored and compared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThirdPartyId {
    medium: Medium,
    address: String,
}

impl ThirdPartyId {
    /// An e-mail address; none if it cannot be one. Case makes no difference.
    pub fn email(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@')?;
        let fits = |part: &str| {
            !part.is_empty()
                && !part.chars().any(|c| c.is_whitespace() || c.is_control() || "<>@,;:\"()[]\\".contains(c))
        };
        if text.len() > MAX_EMAIL || !fits(local) || !fits(domain) || domain.starts_with('.') || domain.ends_with('.') {
            return None;
        }
        // Whatever is stored can be written to.
        text.parse::<lettre::Address>().ok()?;
        Some(Self { medium: Medium::Email, address: text.to_lowercase() })
    }

    /// A phone number as LinkIM's clients give it: `+86` and the national number.
    pub fn phone(area_code: &str, number: &str) -> Option<Self> {
        Self::msisdn(phone_numbers::from_area(area_code, number)?)
    }

    /// A phone number as Matrix's clients give it: a country's two letters and the number as dialled there.
    pub fn phone_in(country: &str, number: &str) -> Option<Self> {
        Self::msisdn(phone_numbers::from_country(country, number)?)
    }

    /// An address as Matrix writes it, a phone number in E.164 digits.
    pub fn parse(medium: Medium, address: &str) -> Option<Self> {
        match medium {
            Medium::Email => Self::email(address),
            Medium::Msisdn => Self::msisdn(phone_numbers::from_digits(address)?),
        }
    }

    fn msisdn(address: String) -> Option<Self> {
        Some(Self { medium: Medium::Msisdn, address })
    }

    /// What kind it is.
    pub fn medium(&self) -> Medium {
        self.medium
    }

    /// The address: an e-mail address in lower case, or E.164 digits.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The country code with its plus, and the national number, of E.164 digits.
pub fn split_phone(digits: &str) -> (String, String) {
    let (area, national) = phone_numbers::split(digits);
    (format!("+{area}"), national.to_owned())
}

/// Why an address is not added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It is another account's.
    #[error("This {} is another account's", if *.0 == Medium::Email { "e-mail address" } else { "phone number" })]
    Taken(Medium),
    /// The account has 10 already.
    #[error("An account has at most {MAX_OF_USER} addresses")]
    TooMany,
    /// The code is not right.
    #[error(transparent)]
    Code(#[from] CodeRefused),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whose address it is.
pub(super) fn user_of(read: &dyn Read, id: &ThirdPartyId) -> Result<Option<UserNid>, StoreError> {
    third_party_ids::user_of(read, id.medium.name(), &id.address)
}

/// Gives a user an address that was proved at `validated_ts`. One that they have already is left as it is.
pub(super) fn add(
    tx: &WriteTx<'_>,
    user: UserNid,
    id: &ThirdPartyId,
    validated_ts: i64,
    now: i64,
) -> Result<(), AddError> {
    match user_of(tx, id)? {
        Some(owner) if owner == user => return Ok(()),
        Some(_) => return Err(AddError::Taken(id.medium)),
        None => {}
    }
    if third_party_ids::of_user(tx, user)?.len() >= MAX_OF_USER {
        return Err(AddError::TooMany);
    }
    Ok(third_party_ids::insert(tx, user, id.medium.name(), &id.address, validated_ts, now)?)
}

/// The addresses of this server's accounts.
pub struct ThirdPartyIds {
    store: Store,
    clock: Arc<dyn Clock>,
    codes: Arc<Codes>,
}

impl ThirdPartyIds {
    /// Addresses are proved by `codes`.
    pub fn new(store: Store, clock: Arc<dyn Clock>, codes: Arc<Codes>) -> Self {
        Self { store, clock, codes }
    }

    /// A user's addresses, oldest first.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn of_user(&self, user: UserNid) -> Result<Vec<ThirdPartyIdRow>, StoreError> {
        self.store.read(move |read| third_party_ids::of_user(read, user)).await
    }

    /// The account that has an address.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn user_id(&self, id: &ThirdPartyId) -> Result<Option<OwnedUserId>, StoreError> {
        let id = id.clone();
        self.store
            .read(move |read| match user_of(read, &id)? {
                Some(user) if accounts::is_active(read, user)? => ids::user_id(read, user).map(Some),
                _ => Ok(None),
            })
            .await
    }

    /// Makes `id` the session's user's one address of its medium, proved by a code that was sent to it for this
    /// ([`Purpose::Change`]). Addresses of the medium that they had before are free afterwards.
    ///
    /// # Errors
    /// [`AddError`]; `Taken` is told to those alone who proved that the address is theirs.
    pub async fn replace(&self, session: &Session, id: ThirdPartyId, code: String) -> Result<(), AddError> {
        let (codes, user, now) = (self.codes.clone(), session.user, self.clock.now_ms());
        self.store
            .write::<_, AddError, _>(move |tx| {
                // A wrong code must be counted: so it is no error of the transaction.
                if let Err(refused) = codes.take(tx, Purpose::Change, &id, &code)? {
                    return Ok(Err(refused));
                }
                if user_of(tx, &id)?.is_some_and(|owner| owner != user) {
                    return Err(AddError::Taken(id.medium));
                }
                third_party_ids::delete_of_medium(tx, user, id.medium.name())?;
                add(tx, user, &id, now, now)?;
                Ok(Ok(()))
            })
            .await?
            .map_err(AddError::Code)
    }

    /// Takes an address from a user. Answers whether they had it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete(&self, user: UserNid, id: ThirdPartyId) -> Result<bool, StoreError> {
        self.store.write(move |tx| third_party_ids::delete(tx, user, id.medium.name(), &id.address)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_has_one_form() {
        let email = |text: &str| ThirdPartyId::email(text).map(|id| id.address);
        assert_eq!(email(" Alice@A.Example ").as_deref(), Some("alice@a.example"));
        for none in
            ["", "a", "@a.example", "alice@", "a b@c.d", "a@b@c", "a@b,c@d", "a@b.c\r\nBcc: d@e.f", "<a@b.c>", "a@.c"]
        {
            assert_eq!(email(none), None, "{none:?}");
        }
        assert_eq!(email(&format!("{}@a.example", "a".repeat(300))), None);
    }
}
