//! Uploads and downloads.

use reqwest::Method;

use crate::client::query;
use crate::{Client, Reply, path};

impl Client {
    /// Uploads a file; gives its `mxc:` URI.
    pub async fn upload(&self, content_type: &str, file_name: &str, bytes: &[u8]) -> String {
        let path = "/_matrix/media/v3/upload".to_owned() + &query(&[("filename", file_name)]);
        let reply = self.raw(Method::POST, &path, &[("content-type", content_type)], Some(bytes.to_vec())).await;
        let uri = reply.ok()["content_uri"].as_str().expect("a content_uri").to_owned();
        assert!(uri.starts_with("mxc://"), "{uri}");
        uri
    }

    /// Downloads the file of an `mxc:` URI.
    pub async fn download(&self, uri: &str) -> Reply {
        let (server, id) = parts(uri);
        self.get(&path!("/_matrix/client/v1/media/download/{}/{}", server, id)).await
    }

    /// A thumbnail of the file of an `mxc:` URI.
    pub async fn thumbnail(&self, uri: &str, width: u32, height: u32, method: &str) -> Reply {
        let (server, id) = parts(uri);
        let (width, height) = (width.to_string(), height.to_string());
        let query = query(&[("width", &width), ("height", &height), ("method", method)]);
        self.get(&(path!("/_matrix/client/v1/media/thumbnail/{}/{}", server, id) + &query)).await
    }
}

/// Server and id of an `mxc:` URI.
fn parts(uri: &str) -> (&str, &str) {
    let rest = uri.strip_prefix("mxc://").expect("an mxc: URI");
    rest.split_once('/').expect("a server and an id")
}
