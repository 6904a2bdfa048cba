// SPDX-License-Identifier: GPL-2.0-only

//! VF tokens: reading, generating and storing them, and keeping them secret.

use std::{
    fs::{self, File},
    io::{IsTerminal, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use tempfile::NamedTempFile;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::failure::{Failure, Result, Status};

/// A VF token: a UUID, most significant byte first. It has no `Debug` and no `Display`, and is wiped when dropped.
pub struct Token(Zeroizing<[u8; 16]>);

impl Token {
    pub fn generate() -> Self {
        Self(Zeroizing::new(Uuid::new_v4().into_bytes()))
    }

    /// Parses 36 characters, in either case, which may be surrounded by white space.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        // The crate accepts other forms, too, which the kernel does not.
        let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36)?;
        Some(Self(Zeroizing::new(uuid.into_bytes())))
    }

    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The text for the kernel.
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(36));
        let mut buffer = Zeroizing::new([0; 36]);
        text.push_str(
            Uuid::from_bytes(*self.0)
                .hyphenated()
                .encode_lower(&mut *buffer),
        );
        text
    }

    /// Reads a token from a file, or from standard input for `-` or without a name.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        match file {
            Some(path) if path != Path::new("-") => Self::read_file(path),
            _ => {
                let input = std::io::stdin();
                if input.is_terminal() {
                    return Err(Failure::new(
                        Status::Usage,
                        "there is no token: name its file with --file, or write it to standard input",
                    ));
                }
                Self::read_from(input.lock(), "standard input")
            }
        }
    }

    /// Reads a token from a file, which only its owner may be able to read.
    pub fn read_file(path: &Path) -> Result<Self> {
        let name = path.display();
        let problem = |error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Failure::refused(format!("there is no file {name}")),
            _ => Failure::io(format_args!("cannot read {name}"), error),
        };
        let file = File::open(path).map_err(|error| problem(&error))?;
        let data = file.metadata().map_err(|error| problem(&error))?;
        let mode = data.permissions().mode() & 0o777;
        if data.is_dir() {
            return Err(Failure::refused(format!(
                "{name} is a directory, not a file with a token"
            )));
        }
        if data.is_file() && mode & 0o077 != 0 {
            return Err(Failure::refused(format!(
                "others can read or write {name}, which contains a token (its mode is {mode:04o})"
            ))
            .fix(format!("chmod 600 {}", quoted(path))));
        }
        let me = nix::unistd::geteuid();
        if data.is_file() && me.is_root() && data.uid() != 0 {
            return Err(Failure::refused(format!(
                "{name} belongs to user {}, who could change the token",
                data.uid()
            ))
            .fix(format!("chown root {}", quoted(path))));
        }
        Self::read_from(file, &name.to_string())
    }

    fn read_from(input: impl Read, name: &str) -> Result<Self> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(128));
        input
            .take(128)
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::io(format_args!("cannot read {name}"), &error))?;
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(Self::parse)
            .ok_or_else(|| {
                Failure::refused(format!(
                    "{name} contains no token: a token is a UUID of 36 characters, such as uuidgen prints"
                ))
            })
    }
}

/// A new file with a token. It is written under a temporary name until it is kept, so that the old file is not lost
/// before.
pub struct NewFile<'a> {
    file: NamedTempFile,
    path: &'a Path,
}

impl<'a> NewFile<'a> {
    pub fn write(path: &'a Path, token: &Token) -> Result<Self> {
        let problem = |error: &std::io::Error| {
            Failure::io(format_args!("cannot write {}", path.display()), error)
        };
        if fs::metadata(path).is_ok_and(|data| !data.is_file()) {
            return Err(Failure::refused(format!(
                "{} exists and is not a file",
                path.display()
            )));
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // Mode 0600.
        let mut file = NamedTempFile::new_in(folder).map_err(|error| problem(&error))?;
        let text = token.text();
        file.write_all(text.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| problem(&error))?;
        Ok(Self { file, path })
    }

    /// Renames the file to its final name.
    pub fn keep(self) -> Result<()> {
        self.file.persist(self.path).map(drop).map_err(|error| {
            Failure::io(
                format_args!("cannot write {}", self.path.display()),
                &error.error,
            )
        })
    }
}

/// A path, quoted for a shell.
pub fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c))
    {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";

    fn file(text: &str, mode: u32) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(mode))
            .unwrap();
        file
    }

    #[test]
    fn a_token_is_a_uuid_of_36_characters() {
        for text in [UUID.to_owned(), format!("{UUID}\n"), UUID.to_uppercase()] {
            let token = Token::read_file(file(&text, 0o600).path())
                .map_err(|failure| failure.message)
                .unwrap();
            assert_eq!(*token.text(), UUID);
            assert_eq!(token.bytes()[..2], [0x1b, 0x4e]);
        }
        for text in [
            "",
            "none",
            &UUID.replace('-', ""),
            &format!("{{{UUID}}}"),
            &format!("{UUID}{UUID}"),
        ] {
            assert!(
                Token::read_file(file(text, 0o600).path()).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_what_mends_it() {
        for mode in [0o640, 0o604, 0o620, 0o666] {
            let file = file(UUID, mode);
            let failure = Token::read_file(file.path()).err().unwrap();
            assert!(!failure.message.contains(UUID));
            assert_eq!(
                failure.fix,
                Some(format!("chmod 600 {}", file.path().display()))
            );
        }
    }

    #[test]
    fn a_wrong_text_is_not_repeated() {
        let failure = Token::read_file(file("almost a secret", 0o600).path())
            .err()
            .unwrap();
        assert!(!failure.message.contains("secret"));
    }

    #[test]
    fn a_new_file_takes_its_place_when_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "what was there").unwrap();
        drop(NewFile::write(&path, &Token::generate()).ok().unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "what was there");
        NewFile::write(&path, &Token::generate())
            .ok()
            .unwrap()
            .keep()
            .ok()
            .unwrap();
        assert!(Token::read_file(&path).is_ok());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn paths_are_quoted_for_a_shell() {
        assert_eq!(quoted(Path::new("/run/t")), "/run/t");
        assert_eq!(
            quoted(Path::new("/run/my token's")),
            r"'/run/my token'\''s'"
        );
    }
}
