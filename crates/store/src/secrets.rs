//! Secrets at rest: each value is sealed with AES-256-GCM under the master key, a random 96-bit nonce, and its table
//! and row id as associated data, so that a sealed value cannot be moved to another row.
//!
//! Stored configs hold `{"_secret": "<id>"}` in place of the value. Invariant 6: a value leaves here in clear only
//! through [`Tx::secret`].

use std::{
    fmt, fs,
    io::{ErrorKind as IoErrorKind, Write},
    path::Path,
};

use aes_gcm::{
    Aes256Gcm, Key, KeyInit, Nonce,
    aead::{Aead, AeadCore, OsRng, Payload},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Error, ErrorKind, Result, Tx, columns::Columns, migrations::hex};

const KEY_VARIABLE: &str = "LEAT_SECRET_KEY";
const KEY_FILE: &str = "secret.key";

/// The key under which all secrets of a store are sealed: 32 bytes.
pub struct MasterKey {
    cipher: Aes256Gcm,
    fingerprint: String,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"leat secret key fingerprint");
        digest.update(bytes);
        let fingerprint = hex(&digest.finalize()[..16]);
        Self { cipher: Aes256Gcm::new(&Key::<Aes256Gcm>::from(bytes)), fingerprint }
    }

    pub fn random() -> Self {
        Self::new(Aes256Gcm::generate_key(OsRng).into())
    }

    /// From `LEAT_SECRET_KEY` (base64 of 32 bytes), otherwise from `secret.key` in the data directory, which is created
    /// with mode 0600 when it is missing.
    pub fn load(data_dir: &Path) -> Result<Self> {
        if let Ok(text) = std::env::var(KEY_VARIABLE)
            && !text.trim().is_empty()
        {
            return Self::parse(&text, KEY_VARIABLE);
        }
        Self::from_file(&data_dir.join(KEY_FILE))
    }

    /// # Errors
    /// `Refused` if `text` is not the base64 of 32 bytes; `origin` names where it came from, the text is not repeated.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| {
            Error::new(ErrorKind::Refused, format!("{origin} does not hold a secret key"))
                .with_hint("it must be the base64 of exactly 32 bytes, as from `openssl rand -base64 32`")
        })?;
        Ok(Self::new(bytes))
    }

    fn from_file(path: &Path) -> Result<Self> {
        let failed = |error| {
            Error::new(ErrorKind::Refused, format!("cannot read or make the secret key {}", path.display()))
                .with_hint("the data directory must exist and be writable for this user")
                .with_source(error)
        };
        match fs::read_to_string(path) {
            Ok(text) => return Self::parse(&text, &path.display().to_string()),
            Err(error) if error.kind() == IoErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let bytes: [u8; 32] = Aes256Gcm::generate_key(OsRng).into();
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed)?;
        file.write_all(STANDARD.encode(bytes).as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Self::new(bytes))
    }

    /// Tells keys apart without giving anything away.
    pub(crate) fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn seal(&self, id: Uuid, clear: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        let nonce = Aes256Gcm::generate_nonce(OsRng);
        let aad = associated(id);
        let payload = Payload { msg: clear.as_bytes(), aad: aad.as_bytes() };
        let sealed = self
            .cipher
            .encrypt(&nonce, payload)
            .map_err(|_| Error::new(ErrorKind::Internal, "a secret could not be sealed"))?;
        Ok((nonce.to_vec(), sealed))
    }

    fn open(&self, id: Uuid, nonce: &[u8], sealed: &[u8]) -> Result<String> {
        let corrupt = || Error::corrupt("a secret (it was changed, or sealed under another key)");
        if nonce.len() != 12 {
            return Err(corrupt());
        }
        let aad = associated(id);
        let payload = Payload { msg: sealed, aad: aad.as_bytes() };
        let clear = self.cipher.decrypt(Nonce::from_slice(nonce), payload).map_err(|_| corrupt())?;
        String::from_utf8(clear).map_err(|_| corrupt())
    }
}

fn associated(id: Uuid) -> String {
    format!("secrets/{id}")
}

impl Tx {
    /// Seals and stores a value; the id goes into the config in its place.
    pub async fn put_secret(&mut self, workspace: Uuid, clear: &str, now_ms: i64) -> Result<Uuid> {
        let id = Uuid::new_v4();
        let (nonce, sealed) = self.key.seal(id, clear)?;
        sqlx::query("insert into secrets (id, workspace_id, nonce, sealed, created_ms) values ($1, $2, $3, $4, $5)")
            .bind(id.to_string())
            .bind(workspace.to_string())
            .bind(nonce)
            .bind(sealed)
            .bind(now_ms)
            .execute(self.conn())
            .await?;
        Ok(id)
    }

    /// The value in clear; `None` for an unknown id. `Corrupt` if it was tampered with.
    pub async fn secret(&mut self, id: Uuid) -> Result<Option<String>> {
        let row = sqlx::query("select nonce, sealed from secrets where id = $1")
            .bind(id.to_string())
            .fetch_optional(self.conn())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let clear = self.key.open(id, &row.bytes("nonce")?, &row.bytes("sealed")?)?;
        Ok(Some(clear))
    }

    pub async fn delete_secret(&mut self, id: Uuid) -> Result<()> {
        sqlx::query("delete from secrets where id = $1").bind(id.to_string()).execute(self.conn()).await?;
        Ok(())
    }
}
