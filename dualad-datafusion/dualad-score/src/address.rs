//! The address of a worker.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// A machine and a port, such as `10.0.0.5:50051`.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    text: String,
    url: Url,
}

impl Address {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }
}

fn parsed(text: &str) -> Option<Url> {
    let (_, port) = text.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let url = Url::parse(&format!("http://{text}")).ok()?;
    // "http://host:1" has another path, and "user@host:1" a name.
    let is_plain = url.path() == "/" && url.username().is_empty() && url.query().is_none() && url.fragment().is_none();
    is_plain.then_some(url)
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parsed(text) {
            Some(url) => Ok(Self { text: text.to_owned(), url }),
            None => Err("name a machine and a port and nothing else, such as 10.0.0.5:50051".into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_machine_and_a_port() {
        for text in ["10.0.0.5:50051", "localhost:1", "line-4.plant.local:65535", "[::1]:50051", "host:80"] {
            assert!(text.parse::<Address>().is_ok(), "{text}");
        }
        for text in [
            "",
            "10.0.0.5",
            "localhost:",
            ":50051",
            "a:70000",
            "http://a:1",
            "a:1/",
            "a:1/x",
            "a@b:1",
            "a b:1",
            "a:1?x",
            "::1",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
