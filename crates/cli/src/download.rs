//! Downloads that go on where they stopped.
//!
//! What has come so far lies in `.download-HASH.part`, named after the address, with the server's mark of the
//! version (`ETag` or `Last-Modified`) beside it. The rest is asked for only if it is still the same version.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use nnunet::files::write_atomic;
use nnunet::progress::{Event, Interrupted, Progress};
use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::environment::variable;
use crate::session::Session;

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(100);

/// Whether `text` is an address and not a file.
pub(crate) fn is_address(text: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme))
}

/// Downloads `url` into `folder` and returns the complete file. After an interruption the same call goes on
/// with what is missing.
pub(crate) fn download(url: &str, folder: &Path, session: &Session) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let hash = hex(&Sha256::digest(url));
    let part = folder.join(format!(".download-{}.part", &hash[..16]));
    let version = part.with_extension("version");
    fetch(url, &part, &version, session)?;
    Ok(part)
}

/// Fails if `path` has not the SHA-256 checksum `expected`, in hexadecimal digits.
pub(crate) fn verify(path: &Path, expected: &str) -> anyhow::Result<()> {
    let found = checksum(path).with_context(|| path.display().to_string())?;
    if !found.eq_ignore_ascii_case(expected) {
        bail!("nothing was installed: the archive has the SHA-256 checksum {found}, expected {expected}");
    }
    Ok(())
}

/// Removes a downloaded file and what belongs to it.
pub(crate) fn discard(part: &Path) {
    for path in [part.to_owned(), part.with_extension("version")] {
        // A leftover is only untidy: another download of this address replaces it.
        let _ = fs::remove_file(path);
    }
}

fn fetch(url: &str, part: &Path, version: &Path, session: &Session) -> anyhow::Result<()> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .user_agent(concat!("nnunet/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .timeout_connect(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .tls_config(tls()?)
            .build(),
    );
    let have = fs::metadata(part).map_or(0, |m| m.len());
    let mark = fs::read_to_string(version).ok().filter(|_| have > 0);
    let mut request = agent.get(url);
    if let Some(mark) = &mark {
        request = request.header(header::RANGE, format!("bytes={have}-")).header(header::IF_RANGE, mark);
    }
    let mut response = request.call().with_context(|| url.to_owned())?;
    let start = match response.status() {
        StatusCode::PARTIAL_CONTENT if mark.is_some() && range_start(&response) == Some(have) => {
            session.message(&format!("going on after {have} bytes"));
            have
        }
        StatusCode::OK => {
            discard(part);
            let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
            // Weak marks do not promise equal bytes.
            let etag = text(header::ETAG).filter(|mark| !mark.starts_with("W/"));
            if let Some(mark) = etag.or_else(|| text(header::LAST_MODIFIED)) {
                write_atomic(version, mark.as_bytes()).with_context(|| version.display().to_string())?;
            }
            0
        }
        StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
            discard(part);
            bail!("{url}: the server did not resume an earlier download; rerun the command to start again");
        }
        status => bail!("{url}: the server answered {status}; check the address"),
    };
    let total = response.body().content_length().map(|rest| start + rest);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(part)
        .with_context(|| part.display().to_string())?;
    let stopped = receive(&mut response, &mut file, start, total, session);
    file.sync_all().with_context(|| part.display().to_string())?;
    let have = stopped.with_context(|| format!("{url}: rerun the command to resume from here"))?;
    match total {
        Some(total) if have != total => {
            Err(anyhow!("{url}: {have} of {total} bytes arrived; rerun the command to resume from here"))
        }
        _ => Ok(()),
    }
}

/// Which servers are trusted: those that the certificates in `SSL_CERT_FILE` vouch for, else Mozilla's.
fn tls() -> anyhow::Result<TlsConfig> {
    let Some(path) = variable("SSL_CERT_FILE") else { return Ok(TlsConfig::default()) };
    let failed = || format!("{path}: expected certificates in PEM form, as SSL_CERT_FILE names it");
    let pem = fs::read(&path).with_context(failed)?;
    let items = parse_pem(&pem).collect::<Result<Vec<_>, _>>().with_context(failed)?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        bail!("{}, found none", failed());
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::from(certificates)).build())
}

/// Writes the body to `file` and returns the number of bytes that are there then.
fn receive(
    response: &mut Response<Body>,
    file: &mut File,
    start: u64,
    total: Option<u64>,
    session: &Session,
) -> anyhow::Result<u64> {
    const MB: u64 = 1 << 20;
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0u8; 1 << 18];
    let mut have = start;
    session.display.event(Event::Started { stage: "download (MB)", total: total.unwrap_or(0) / MB });
    loop {
        if session.cancel.is_cancelled() {
            return Err(Interrupted.into());
        }
        let n = body.read(&mut buffer)?;
        if n == 0 {
            session.display.event(Event::Finished);
            return Ok(have);
        }
        file.write_all(&buffer[..n])?;
        let before = have / MB;
        have += n as u64;
        if have / MB > before {
            session.display.event(Event::Advanced { done: have / MB, detail: "" });
        }
    }
}

/// Where the content of a partial answer begins: `Content-Range: bytes START-END/TOTAL`.
fn range_start(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn checksum(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut buffer = vec![0u8; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
