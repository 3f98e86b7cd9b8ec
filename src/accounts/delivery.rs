//! How a verification code reaches an address: by mail, by the operator's webhook for text messages, or, in development, by the
//! log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    address::AddressError,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        self,
        client::{Certificate, Tls, TlsParameters},
    },
};
use ruma::OwnedServerName;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::{
    codes::Purpose,
    third_party_ids::{Medium, ThirdPartyId},
};
use crate::{
    clock::Clock,
    config::{self, Config},
    peers::https::{
        TrustError, extra_certificates,
        outgoing::{Fetch, Outgoing},
    },
};

/// How long the mail server may take for one command, and for all of a message.
const COMMAND_TIME: Duration = Duration::from_secs(10);
const MAIL_TIME: Duration = Duration::from_secs(20);

/// How long the webhook may take, and bytes of its answer.
const WEBHOOK_TIME: Duration = Duration::from_secs(10);
const WEBHOOK_ANSWER: usize = 16 * 1024;

/// Codes on their way at once; whoever comes beyond them is told to come again.
const AT_ONCE: usize = 32;

/// How long after a failure nothing is tried, in milliseconds: those who may not be told of it are answered by it.
const AWAY_MS: i64 = 3_000;

/// Why a code did not reach an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryError {
    /// The mail server or the webhook does not take anything now.
    Unreachable,
    /// It does not take this address.
    Refused,
}

/// Why the mail server of the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The authorities that certify it.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// `email.from`.
    #[error("email.from: {0}")]
    From(#[from] AddressError),
    /// `email.smtp_url`, or TLS.
    #[error("email.smtp_url: {0}")]
    Smtp(#[from] smtp::Error),
}

/// The ways to send.
pub struct Delivery {
    mail: Option<(AsyncSmtpTransport<Tokio1Executor>, Mailbox)>,
    webhook: Option<Url>,
    log: bool,
    outgoing: Arc<Outgoing>,
    clock: Arc<dyn Clock>,
    server_name: OwnedServerName,
    places: Arc<Semaphore>,
    mail_away_until: AtomicI64,
    webhook_away_until: AtomicI64,
}

impl Delivery {
    /// As the configuration says; the webhook is called through `outgoing`.
    ///
    /// # Errors
    /// [`MailError`]
    pub fn new(config: &Config, outgoing: Arc<Outgoing>, clock: Arc<dyn Clock>) -> Result<Self, MailError> {
        let webhook = config.verification.sms_webhook.as_ref().and_then(|url| Url::parse(url.expose()).ok());
        let mail = config.email.as_ref().map(|email| mail(email, &config.outgoing)).transpose()?;
        Ok(Self {
            mail,
            webhook,
            log: config.verification.log_codes,
            outgoing,
            clock,
            server_name: config.server_name.clone(),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            mail_away_until: AtomicI64::new(0),
            webhook_away_until: AtomicI64::new(0),
        })
    }

    /// Whether there is a way to such addresses.
    pub(super) fn reaches(&self, medium: Medium) -> bool {
        self.log
            || match medium {
                Medium::Email => self.mail.is_some(),
                Medium::Msisdn => self.webhook.is_some(),
            }
    }

    /// A place among the codes on their way; none if there is none, or the last one failed a moment ago.
    pub(super) fn permit(&self, medium: Medium) -> Option<OwnedSemaphorePermit> {
        if self.away(medium).load(Ordering::Relaxed) > self.clock.now_ms() {
            return None;
        }
        self.places.clone().try_acquire_owned().ok()
    }

    fn away(&self, medium: Medium) -> &AtomicI64 {
        match medium {
            Medium::Email => &self.mail_away_until,
            Medium::Msisdn => &self.webhook_away_until,
        }
    }

    /// Sends a code by the ways that there are.
    pub(super) async fn deliver(&self, to: &ThirdPartyId, code: &str, purpose: Purpose) -> Result<(), DeliveryError> {
        if self.log {
            tracing::warn!(
                address = to.address(),
                code,
                purpose = purpose.name(),
                "a verification code (verification.log_codes)"
            );
        }
        let sent = match to.medium() {
            Medium::Email => self.mail(to, code).await,
            Medium::Msisdn => self.text(to, code, purpose).await,
        };
        let (until, unreachable) = (self.away(to.medium()), matches!(sent, Err(DeliveryError::Unreachable)));
        until.store(if unreachable { self.clock.now_ms() + AWAY_MS } else { 0 }, Ordering::Relaxed);
        sent
    }

    async fn mail(&self, to: &ThirdPartyId, code: &str) -> Result<(), DeliveryError> {
        let Some((transport, from)) = &self.mail else { return Ok(()) };
        let address = to.address().parse::<lettre::Address>().map_err(|_| DeliveryError::Refused)?;
        let message = Message::builder()
            .from(from.clone())
            .to(Mailbox::new(None, address))
            .subject(format!("Verification code for {}", self.server_name))
            .header(ContentType::TEXT_PLAIN)
            .body(text(code, &self.server_name))
            .map_err(|_| DeliveryError::Refused)?;
        let error = match tokio::time::timeout(MAIL_TIME, transport.send(message)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => {
                tracing::warn!("the mail server took too long for a verification code");
                return Err(DeliveryError::Unreachable);
            }
        };
        tracing::warn!(%error, "the mail server did not take a verification code");
        Err(if error.is_permanent() { DeliveryError::Refused } else { DeliveryError::Unreachable })
    }

    async fn text(&self, to: &ThirdPartyId, code: &str, purpose: Purpose) -> Result<(), DeliveryError> {
        let Some(url) = &self.webhook else { return Ok(()) };
        let body = json!({ "to": format!("+{}", to.address()), "code": code, "purpose": purpose.name() }).to_string();
        let post = Fetch::post(url.clone(), HeaderValue::from_static("application/json"), body);
        let post = post.timeout(WEBHOOK_TIME).limit(WEBHOOK_ANSWER);
        match self.outgoing.fetch(post).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) if matches!(answer.status.as_u16(), 400 | 404 | 422) => {
                tracing::warn!(status = %answer.status, "verification.sms_webhook refused a text message");
                Err(DeliveryError::Refused)
            }
            Ok(answer) => {
                tracing::warn!(status = %answer.status, "verification.sms_webhook did not send a text message");
                Err(DeliveryError::Unreachable)
            }
            Err(error) => {
                tracing::warn!(%error, "verification.sms_webhook cannot be reached");
                Err(DeliveryError::Unreachable)
            }
        }
    }
}

/// What people read.
fn text(code: &str, server_name: &OwnedServerName) -> String {
    format!(
        "Your verification code for {server_name} is:\r\n\r\n{code}\r\n\r\nIt is good for 5 minutes. Give it to nobody. If you \
         did not ask for it, somebody mistook your address for theirs: do nothing.\r\n"
    )
}

/// The connection to the mail server, and the sender. Both were checked with the configuration.
fn mail(
    email: &config::Email,
    trusted: &config::Outgoing,
) -> Result<(AsyncSmtpTransport<Tokio1Executor>, Mailbox), MailError> {
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(email.smtp_url.expose())?;
    if let Some(tls) = tls(email.smtp_url.expose(), extra_certificates(trusted)?)? {
        transport = transport.tls(tls);
    }
    Ok((transport.timeout(Some(COMMAND_TIME)).build(), email.from.parse()?))
}

/// TLS as `from_url` understands the address, but believing these authorities beside the system's; None: without TLS.
fn tls(smtp_url: &str, trusted: Vec<CertificateDer<'static>>) -> Result<Option<Tls>, smtp::Error> {
    let Ok(url) = Url::parse(smtp_url) else { return Ok(None) };
    let wanted = url.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
    let tls = match (url.scheme(), wanted.as_deref()) {
        ("smtps", _) => Tls::Wrapper,
        (_, Some("required")) => Tls::Required,
        (_, Some("opportunistic")) => Tls::Opportunistic,
        _ => return Ok(None),
    };
    let mut parameters = TlsParameters::builder(url.host_str().unwrap_or_default().to_owned());
    for certificate in trusted {
        parameters = parameters.add_root_certificate(Certificate::from_der(certificate.to_vec())?);
    }
    Ok(Some(tls(parameters.build_rustls()?)))
}
