//! An object store that speaks S3, as a sink: each bundle is an object that is created once and never written over.
//!
//! Objects are `<prefix>/<log>/entries/<first>-<last>.bundle.zst`: a [`Bundle`] as one zstd frame. How long an object
//! cannot be deleted is the bucket's to say (Object Lock with a default retention): no header of ours could be trusted more than
//! a rule its owner set. For such buckets each upload carries its SHA-256.

use super::bundle::Bundle;
use super::destination::{Destination, Failure};
use super::keys::{self, Environment};
use crate::audit::origin::Origin;
use crate::config::{S3Store, Scheme};
use async_trait::async_trait;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum, S3ConditionalPut};
use object_store::path::Path;
use object_store::{ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};
use std::time::Duration;

/// Entries of one object, in bytes before compression.
const BUNDLE_BYTES: usize = 4 << 20;
/// Largest object that is read back.
const MOST_READ: usize = 8 << 20;
/// Fast, and within a tenth of what slower levels make of records.
const LEVEL: i32 = 3;
const SUFFIX: &str = ".bundle.zst";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A bucket that bundles go to.
pub(super) struct S3(Bucket);

impl S3 {
    pub fn new(store: S3Store, env: Environment) -> S3 {
        S3(Bucket::new(store, env))
    }

    fn path(&self, bundle: &Bundle) -> Result<Path, Failure> {
        self.0.path(&bundle.origin, &format!("entries/{}{SUFFIX}", bundle.name()))
    }
}

#[async_trait]
impl Destination for S3 {
    async fn ready(&mut self) -> Result<usize, Failure> {
        self.0.connect().map(|_| BUNDLE_BYTES)
    }

    async fn newest(&mut self, origin: &Origin) -> Result<Option<Bundle>, Failure> {
        let folder = self.0.path(origin, "entries")?;
        let mut objects = self.0.connect()?.list(Some(&folder));
        let mut newest: Option<(u64, u64, Path)> = None;
        while let Some(object) = objects.try_next().await.map_err(|error| self.0.failed("listing objects", &error))? {
            let name = object.location.filename().and_then(|name| name.strip_suffix(SUFFIX));
            if let Some((first, last)) = name.and_then(Bundle::range)
                && newest.as_ref().is_none_or(|(_, furthest, _)| last > *furthest)
            {
                newest = Some((first, last, object.location));
            }
        }
        drop(objects);
        let Some((first, last, path)) = newest else { return Ok(None) };
        let bytes = self.0.read(&path).await?;
        let foreign = || Failure::Conflict(format!("the object {path} is no bundle of ours"));
        let bytes = zstd::bulk::decompress(&bytes, MOST_READ).map_err(|_| foreign())?;
        let bundle = Bundle::parse(origin, first, bytes).filter(|bundle| bundle.end().checked_sub(1) == Some(last));
        bundle.ok_or_else(foreign).map(Some)
    }

    async fn deliver(&mut self, bundle: &Bundle) -> Result<(), Failure> {
        let path = self.path(bundle)?;
        let bytes = zstd::bulk::compress(bundle.bytes(), LEVEL).map_err(|error| Failure::later("compressing", &error))?;
        // Another version of the library may compress the same entries differently.
        let same = |there: &[u8]| zstd::bulk::decompress(there, MOST_READ).is_ok_and(|there| there == bundle.bytes());
        self.0.create(&path, bytes, &same).await
    }
}

/// A bucket, connected when needed, in which nothing is ever written over.
pub(super) struct Bucket {
    store: S3Store,
    env: Environment,
    client: Option<AmazonS3>,
}

impl Bucket {
    pub fn new(store: S3Store, env: Environment) -> Bucket {
        Bucket { store, env, client: None }
    }

    /// Where an object of a log is.
    pub fn path(&self, origin: &Origin, name: &str) -> Result<Path, Failure> {
        let text = match self.store.prefix.as_str() {
            "" => format!("{origin}/{name}"),
            prefix => format!("{prefix}/{origin}/{name}"),
        };
        Path::parse(text).map_err(|error| Failure::later("naming an object", &error))
    }

    /// Creates an object. One that is there already will do when `same` says so of its content.
    pub async fn create(&mut self, path: &Path, bytes: Vec<u8>, same: &(dyn Fn(&[u8]) -> bool + Sync)) -> Result<(), Failure> {
        let put = self.connect()?.put_opts(path, PutPayload::from(bytes), PutMode::Create.into()).await;
        match put {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => match same(&self.read(path).await?) {
                true => Ok(()),
                false => Err(Failure::Conflict(format!("the object {path} is there already and says something else"))),
            },
            Err(error) => Err(self.failed("writing an object", &error)),
        }
    }

    async fn read(&mut self, path: &Path) -> Result<Vec<u8>, Failure> {
        let object = self.connect()?.get(path).await.map_err(|error| self.failed("reading an object", &error))?;
        if object.meta.size > MOST_READ as u64 {
            return Err(Failure::Conflict(format!("the object {path} is larger than any of ours")));
        }
        match object.bytes().await {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) => Err(self.failed("reading an object", &error)),
        }
    }

    fn connect(&mut self) -> Result<&AmazonS3, Failure> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.build()?,
        };
        Ok(self.client.insert(client))
    }

    fn build(&self) -> Result<AmazonS3, Failure> {
        let in_clear = self.store.endpoint.as_ref().is_some_and(|url| url.scheme == Scheme::Http);
        let options =
            ClientOptions::new().with_connect_timeout(CONNECT_TIMEOUT).with_timeout(REQUEST_TIMEOUT).with_allow_http(in_clear);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.store.bucket)
            .with_region(&self.store.region)
            .with_client_options(options)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_checksum_algorithm(Checksum::SHA256)
            // The courier tries again, and counts.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
        if let Some(endpoint) = &self.store.endpoint {
            builder = builder.with_endpoint(endpoint.to_string());
        }
        let builder =
            keys::of_store(&self.store, builder, &self.env).map_err(|error| Failure::later("the store's keys", &error))?;
        builder.build().map_err(|error| Failure::caused("the store", &error))
    }

    /// Tells of a failure, and connects anew next time: keys may have changed.
    fn failed(&mut self, what: &str, error: &Error) -> Failure {
        self.client = None;
        Failure::caused(what, error)
    }
}
