//! `linkim test-certificates`: an authority and certificates for trying out federation on one machine.

use std::{
    io::{self, Write},
    path::Path,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// The authority's certificate and its key, in the folder.
const AUTHORITY: (&str, &str) = ("authority.pem", "authority.key");

/// Makes an authority in `folder`, unless one is there, and a certificate of it for each name: `NAME.pem` and `NAME.key`. What
/// was made goes to `out`, what went wrong to `err`. Answers whether all is there.
///
/// # Errors
/// What the streams say.
pub fn test_certificates(
    folder: &Path,
    names: &[String],
    mut out: impl Write,
    mut err: impl Write,
) -> io::Result<bool> {
    match make(folder, names) {
        Ok(()) => {
            writeln!(
                out,
                "{}: certificates for {}, and the authority to be trusted",
                folder.display(),
                names.join(", ")
            )?;
            writeln!(err, "They are for trying out on one machine: whoever reads {} can be anybody.", AUTHORITY.1)?;
            Ok(true)
        }
        Err(error) => {
            writeln!(err, "linkim: {}: {error}", folder.display())?;
            Ok(false)
        }
    }
}

fn make(folder: &Path, names: &[String]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let issuer = authority(folder)?;
    for name in names {
        let mut params = CertificateParams::new([name.clone()]).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
        write_secret(&folder.join(format!("{name}.key")), &key.serialize_pem())?;
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem())?;
    }
    Ok(())
}

/// The authority of the folder, made if it has none.
fn authority(folder: &Path) -> io::Result<Issuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "LinkIM, for trying out on this machine");
    let (certificate, key) = (folder.join(AUTHORITY.0), folder.join(AUTHORITY.1));
    if certificate.exists() && key.exists() {
        let key = KeyPair::from_pem(&std::fs::read_to_string(key)?).map_err(io::Error::other)?;
        return Ok(Issuer::new(params, key));
    }
    let pair = KeyPair::generate().map_err(io::Error::other)?;
    let own = params.self_signed(&pair).map_err(io::Error::other)?;
    write_secret(&key, &pair.serialize_pem())?;
    std::fs::write(certificate, own.pem())?;
    Ok(Issuer::new(params, pair))
}

/// Writes a file that its owner alone may read.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
