//! Thumbnails of images: of a few sizes, made when first asked for.
//!
//! Source: Client-Server API, "Thumbnails".

use std::{
    io::{BufReader, Cursor},
    path::{Path, PathBuf},
    sync::Arc,
};

use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, imageops::FilterType};
use tokio::sync::Semaphore;

use super::{DownloadError, files::Files};

/// How a thumbnail relates to the size asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Exactly that aspect ratio; what stands over is cut off.
    Crop,
    /// The image's own aspect ratio.
    Scale,
}

/// A thumbnail that somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// How.
    pub method: Method,
}

/// The thumbnails that are made, the smallest first.
const SIZES: [Wanted; 5] = [
    Wanted { width: 32, height: 32, method: Method::Crop },
    Wanted { width: 96, height: 96, method: Method::Crop },
    Wanted { width: 320, height: 240, method: Method::Scale },
    Wanted { width: 640, height: 480, method: Method::Scale },
    Wanted { width: 800, height: 600, method: Method::Scale },
];

/// Pixels of an image's side at most.
const MAX_SIDE: u32 = 16_384;

/// Bytes that decoding may take: 64 million pixels of four bytes. Only one image is decoded at a time.
const MAX_DECODED: u64 = 256 * 1024 * 1024;

/// Names of all thumbnails of a file.
pub(super) fn variants() -> impl Iterator<Item = String> {
    SIZES.into_iter().flat_map(|size| ["jpeg", "png"].map(|format| variant(size, format)))
}

fn variant(size: Wanted, format: &str) -> String {
    let method = match size.method {
        Method::Crop => "crop",
        Method::Scale => "scale",
    };
    format!("{}x{}-{method}.{format}", size.width, size.height)
}

/// What serves the wish for a thumbnail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// The file itself: it is no larger than what is wanted, or larger thumbnails are not made.
    Original,
    /// This one.
    Thumbnail { path: PathBuf, size: u64, content_type: &'static str },
}

/// Makes thumbnails. Bound: ten files an image; one image is decoded at a time.
pub(super) struct Thumbnails {
    files: Arc<Files>,
    working: Semaphore,
}

impl Thumbnails {
    pub(super) fn new(files: Arc<Files>) -> Self {
        Self { files, working: Semaphore::new(1) }
    }

    /// The smallest thumbnail that is no smaller than what is wanted.
    pub(super) async fn make(&self, hash: &[u8; 32], wanted: Wanted) -> Result<Made, DownloadError> {
        let fits =
            |size: &Wanted| size.method == wanted.method && size.width >= wanted.width && size.height >= wanted.height;
        // Of the sizes that are made none need be of this method.
        let scaled = |size: &Wanted| size.width >= wanted.width && size.height >= wanted.height;
        let Some(size) = SIZES.into_iter().find(fits).or_else(|| SIZES.into_iter().find(scaled)) else {
            return self.original(hash).await;
        };
        let size = Wanted { method: if fits(&size) { size.method } else { Method::Scale }, ..size };
        if let Some(made) = self.made(hash, size).await {
            return Ok(made);
        }
        let Ok(_alone) = self.working.acquire().await else { return Err(DownloadError::NoThumbnail) };
        if let Some(made) = self.made(hash, size).await {
            return Ok(made);
        }
        let path = self.files.path(hash);
        let rendered = tokio::task::spawn_blocking(move || render(&path, size)).await;
        let rendered = rendered.map_err(|error| DownloadError::Malformed(error.to_string()))??;
        let Some((format, bytes)) = rendered else { return Ok(Made::Original) };
        let path = self.files.thumbnail_path(hash, &variant(size, format));
        self.files.write_thumbnail(&path, bytes).await?;
        self.made(hash, size).await.ok_or(DownloadError::NoThumbnail)
    }

    /// The file itself, if it is an image at all.
    async fn original(&self, hash: &[u8; 32]) -> Result<Made, DownloadError> {
        let path = self.files.path(hash);
        let known = tokio::task::spawn_blocking(move || open(&path).map(|_| ())).await;
        known.map_err(|error| DownloadError::Malformed(error.to_string()))??;
        Ok(Made::Original)
    }

    /// The thumbnail, if it was made before.
    async fn made(&self, hash: &[u8; 32], size: Wanted) -> Option<Made> {
        for (format, content_type) in [("jpeg", "image/jpeg"), ("png", "image/png")] {
            let path = self.files.thumbnail_path(hash, &variant(size, format));
            if let Ok(metadata) = tokio::fs::metadata(&path).await {
                return Some(Made::Thumbnail { path, size: metadata.len(), content_type });
            }
        }
        None
    }
}

type Reader = ImageReader<BufReader<std::fs::File>>;

fn open(path: &Path) -> Result<Reader, DownloadError> {
    let reader = ImageReader::open(path)?.with_guessed_format()?;
    if reader.format().is_none() {
        return Err(DownloadError::NoThumbnail);
    }
    Ok(reader)
}

/// Renders a thumbnail: (format, bytes); None if the image is no larger.
fn render(path: &Path, size: Wanted) -> Result<Option<(&'static str, Vec<u8>)>, DownloadError> {
    let mut reader = open(path)?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) * 4 > MAX_DECODED {
        return Err(DownloadError::TooLarge);
    }
    if width <= size.width && height <= size.height {
        return Ok(None);
    }
    let orientation = decoder.orientation().map_err(undecodable)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    image.apply_orientation(orientation);
    let image = match size.method {
        Method::Crop => {
            image.resize_to_fill(size.width.min(image.width()), size.height.min(image.height()), FilterType::Triangle)
        }
        Method::Scale => image.resize(size.width, size.height, FilterType::Triangle),
    };
    let mut bytes = Cursor::new(Vec::new());
    let (name, format, image) = match image.color().has_alpha() {
        true => ("png", ImageFormat::Png, image),
        false => ("jpeg", ImageFormat::Jpeg, DynamicImage::ImageRgb8(image.into_rgb8())),
    };
    image.write_to(&mut bytes, format).map_err(undecodable)?;
    Ok(Some((name, bytes.into_inner())))
}

fn undecodable(error: image::ImageError) -> DownloadError {
    match error {
        image::ImageError::Limits(_) => DownloadError::TooLarge,
        image::ImageError::IoError(error) => DownloadError::Malformed(error.to_string()),
        _ => DownloadError::NoThumbnail,
    }
}
