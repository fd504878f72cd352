//! Models installed from an address, with a server on the loopback interface that breaks off.

// Helpers of tests fail the test by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const MODEL: &str = "Dataset811_Tiny/nnUNetTrainer__nnUNetPlans__3d_fullres";

/// What the server does with the next request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    /// Promises everything and closes the connection after half of it.
    BreakOff,
    /// Answers as a server should.
    Serve,
    /// Has the same file under another mark.
    Renewed,
    /// Has nothing.
    Missing,
}

struct Server {
    address: String,
    mood: Arc<Mutex<Mood>>,
    /// First lines and ranges of all requests.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(content: Vec<u8>) -> Self {
        Self::start_with(content, "http", |stream, content, mood| answer(&mut { stream }, content, mood))
    }

    /// As [`start`](Self::start), behind TLS.
    fn start_secret(content: Vec<u8>) -> Self {
        let chain =
            CertificateDer::pem_file_iter(golden("server.pem")).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(golden("key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(versions.with_no_client_auth().with_single_cert(chain, key).unwrap());
        Self::start_with(content, "https", move |stream, content, mood| {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            // Clients that do not trust the certificate hang up.
            if stream.conn.complete_io(&mut stream.sock).is_err() {
                return String::new();
            }
            answer(&mut stream, content, mood)
        })
    }

    fn start_with(
        content: Vec<u8>,
        scheme: &str,
        serve: impl Fn(TcpStream, &[u8], Mood) -> String + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("{scheme}://{}/model.zip", listener.local_addr().unwrap());
        let (mood, requests) = (Arc::new(Mutex::new(Mood::Serve)), Arc::new(Mutex::new(Vec::new())));
        let (moods, seen) = (Arc::clone(&mood), Arc::clone(&requests));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mood = *moods.lock().unwrap();
                let request = serve(stream.unwrap(), &content, mood);
                seen.lock().unwrap().push(request);
            }
        });
        Self { address, mood, requests }
    }

    fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// The range of the last request, if it had one.
    fn last_range(&self) -> String {
        self.requests.lock().unwrap().last().unwrap().clone()
    }
}

/// Answers one request and returns its range.
fn answer(stream: &mut (impl Read + Write), content: &[u8], mood: Mood) -> String {
    let mut range = String::new();
    let mut condition = String::new();
    for line in BufReader::new(&mut *stream).lines() {
        let line = line.unwrap();
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("range:") {
            range = value.trim().to_owned();
        } else if let Some(value) = lower.strip_prefix("if-range:") {
            condition = value.trim().to_owned();
        } else if line.is_empty() {
            break;
        }
    }
    let mark = if mood == Mood::Renewed { "\"two\"" } else { "\"one\"" };
    let start = range.strip_prefix("bytes=").and_then(|r| r.trim_end_matches('-').parse::<usize>().ok());
    let start = start.filter(|_| condition == mark);
    let body = &content[start.unwrap_or(0)..];
    let status = match (mood, start) {
        (Mood::Missing, _) => "404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        (_, Some(start)) => format!(
            "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}\r\n",
            content.len() - 1,
            content.len()
        ),
        (_, None) => "200 OK\r\n".to_owned(),
    };
    write!(stream, "HTTP/1.1 {status}").unwrap();
    if mood != Mood::Missing {
        write!(stream, "ETag: {mark}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())
            .unwrap();
        let sent = if mood == Mood::BreakOff { &body[..body.len() / 2] } else { body };
        stream.write_all(sent).unwrap();
    }
    range
}

/// A model's archive of about a megabyte.
fn model() -> Vec<u8> {
    let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let mut number = 1u32;
    let noise: Vec<u8> = (0..1 << 20)
        .map(|_| {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (number >> 24) as u8
        })
        .collect();
    for (name, bytes) in
        [("plans.json", &b"{}"[..]), ("dataset.json", b"{}"), ("fold_0/checkpoint_final.pth", &noise)]
    {
        zip.start_file(format!("{MODEL}/{name}"), SimpleFileOptions::default()).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn install(address: &str, results: &Path, more: &[&str]) -> Output {
    install_trusting(None, address, results, more)
}

/// Installs, trusting nobody but the `certificates`, if there are some.
fn install_trusting(certificates: Option<&Path>, address: &str, results: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nnunet"));
    for variable in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(variable).env_remove(variable.to_uppercase());
    }
    match certificates {
        Some(file) => command.env("SSL_CERT_FILE", file),
        None => command.env_remove("SSL_CERT_FILE"),
    };
    command.args(["install-model", address, "--results"]).arg(results).args(more).output().unwrap()
}

/// A file of tests/golden/tls.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tls").join(name)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into()).collect();
    names.sort();
    names
}

#[test]
fn a_download_goes_on_where_it_stopped() {
    let content = model();
    let checksum: String = Sha256::digest(&content).iter().map(|b| format!("{b:02x}")).collect();
    let server = Server::start(content.clone());
    let results = tempfile::tempdir().unwrap();
    let results = results.path();

    server.be(Mood::BreakOff);
    let output = install(&server.address, results, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("rerun the command to resume from here"), "{}", said(&output));
    assert_eq!(entries(results).len(), 2, "what came, and the mark of its version");

    server.be(Mood::Serve);
    let output = install(&server.address, results, &["--sha256", &checksum.to_uppercase()]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(server.last_range(), format!("bytes={}-", content.len() / 2));
    assert_eq!(entries(results), [PathBuf::from("Dataset811_Tiny")], "nothing of the download is left");
    let installed = results.join(MODEL).join("fold_0/checkpoint_final.pth");
    assert_eq!(std::fs::metadata(installed).unwrap().len(), 1 << 20);

    // Another version: begun anew instead of glued together.
    server.be(Mood::BreakOff);
    install(&server.address, results, &["--force"]);
    server.be(Mood::Renewed);
    let output = install(&server.address, results, &["--force", "--sha256", &checksum]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(server.last_range().starts_with("bytes="));

    // The wrong file.
    let output = install(&server.address, results, &["--force", "--sha256", &"0".repeat(64)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains(&checksum), "{}", said(&output));
    server.be(Mood::Missing);
    let output = install(&server.address, results, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("404 Not Found"), "{}", said(&output));
    assert_eq!(entries(results), [PathBuf::from("Dataset811_Tiny")]);
    let output = install(&server.address, results, &["--sha256", "12"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn servers_behind_tls_have_to_be_trusted() {
    let content = model();
    let server = Server::start_secret(content.clone());
    let results = tempfile::tempdir().unwrap();
    let results = results.path();

    // Mozilla does not know the authority of this server.
    let output = install(&server.address, results, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("certificate"), "{}", said(&output));
    for (file, message) in
        [("key.pem", "found none"), ("nowhere.pem", "nowhere.pem"), ("server.pem", "certificate")]
    {
        let output = install_trusting(Some(&golden(file)), &server.address, results, &[]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        assert!(said(&output).contains(message), "{file}: {}", said(&output));
    }
    assert!(entries(results).is_empty(), "{:?}", entries(results));

    let authority = golden("ca.pem");
    server.be(Mood::BreakOff);
    let output = install_trusting(Some(&authority), &server.address, results, &[]);
    assert!(said(&output).contains("rerun the command to resume from here"), "{}", said(&output));
    server.be(Mood::Serve);
    let output = install_trusting(Some(&authority), &server.address, results, &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(server.last_range(), format!("bytes={}-", content.len() / 2));
    assert_eq!(entries(results), [PathBuf::from("Dataset811_Tiny")]);
}
