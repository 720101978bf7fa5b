//! Encryption of a connection, by the modes of libpq. Start with [`Tls`]; [`Stream`] is what a session reads and writes.
//!
//! rustls with the ring provider. `verify-ca` is the chain without the name: no ready verifier does that, hence
//! [`Authority`]. A certificate that is itself among the given authorities counts as verified, as with libpq, because
//! a self-signed server certificate is handed out as its own authority.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use connector::{Error, Result};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::{
            WebPkiServerVerifier,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            verify_server_name,
        },
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
        server::ParsedCertificate,
    },
};

use super::config::Certificates;

/// When a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Never,
    /// Only where the server refuses plain text.
    Allow,
    /// Where the server can.
    Prefer,
    Must,
}

#[derive(Clone)]
pub struct Tls {
    pub policy: Policy,
    config: Option<Arc<ClientConfig>>,
}

impl Tls {
    pub fn never() -> Self {
        Self { policy: Policy::Never, config: None }
    }

    /// Encrypted, with whoever answers.
    pub fn unverified(policy: Policy) -> Result<Self> {
        let config = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
            .with_no_client_auth();
        Ok(Self { policy, config: Some(Arc::new(config)) })
    }

    /// Encrypted, with a server that the authority vouches for; with `name`, under the name of the host.
    pub fn verified(certificates: &Certificates, name: bool) -> Result<Self> {
        let trusted = pem_certificates("ca_certificate", &certificates.ca_certificate)?;
        let mut roots = RootCertStore::empty();
        for certificate in &trusted {
            roots.add(certificate.clone()).map_err(|error| bad("ca_certificate", error))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
        let verifier = verifier.map_err(|error| bad("ca_certificate", error))?;
        let authority = Authority { verifier, trusted, name };
        let config = builder()?.dangerous().with_custom_certificate_verifier(Arc::new(authority));
        if certificates.client_key_password.as_deref().is_some_and(|password| !password.is_empty()) {
            return Err(Error::config(
                "Configuration field `client_key_password`: encrypted client keys are not implemented",
            )
            .with_hint("Give the key without a password (openssl pkey -in client.key)"));
        }
        let own = |text: &Option<String>| text.as_ref().filter(|text| !text.trim().is_empty()).cloned();
        let config = match (own(&certificates.client_certificate), own(&certificates.client_key)) {
            (None, None) => config.with_no_client_auth(),
            (Some(chain), Some(key)) => {
                let chain = pem_certificates("client_certificate", &chain)?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| bad("client_key", error))?;
                config.with_client_auth_cert(chain, key).map_err(|error| bad("client_key", error))?
            }
            _ => {
                return Err(Error::config(
                    "Configuration fields `client_certificate` and `client_key` belong together",
                )
                .with_hint("Give both or neither"));
            }
        };
        Ok(Self { policy: Policy::Must, config: Some(Arc::new(config)) })
    }

    /// The handshake, on a connection whose server has agreed to it.
    pub async fn handshake(&self, host: &str, tcp: TcpStream) -> io::Result<Stream> {
        let Some(config) = &self.config else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "encryption is switched off"));
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = TlsConnector::from(config.clone()).connect(name, tcp).await?;
        Ok(Stream::Secure(Box::new(stream)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::system("TLS cannot be set up").with_source(error))
}

fn pem_certificates(field: &str, text: &str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>().map_err(|error| bad(field, error))?;
    if found.is_empty() {
        return Err(Error::config(format!("Configuration field `{field}` holds no certificate"))
            .with_hint("Paste the PEM text, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----"));
    }
    Ok(found)
}

fn bad(field: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::config(format!("Configuration field `{field}` is not usable PEM text")).with_source(error)
}

/// Encryption without identity: `require` and weaker.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// `verify-ca` and, with `name`, `verify-full`.
#[derive(Debug)]
struct Authority {
    verifier: Arc<WebPkiServerVerifier>,
    trusted: Vec<CertificateDer<'static>>,
    name: bool,
}

impl ServerCertVerifier for Authority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trusted.iter().any(|certificate| certificate.as_ref() == end_entity.as_ref()) {
            if self.name {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last, when the chain is known to be good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// A connection to the server, in plain text or encrypted.
pub enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Secure(_) => "Secure",
        })
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Secure(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Secure(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Secure(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
