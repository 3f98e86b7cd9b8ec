//! Contents and thumbnails on a real disk.

use std::{io::Cursor, sync::Arc};

use axum::body::Body;
use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};

use super::{
    FileError, Method, Mxc, Wanted,
    files::Files,
    thumbnails::{Made, Thumbnails},
};
use crate::random::OsRandom;

fn files() -> (tempfile::TempDir, Arc<Files>) {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::open(folder.path().join("media"), Arc::new(OsRandom)).unwrap();
    (folder, Arc::new(files))
}

#[test]
fn names_with_other_characters_are_no_names() {
    assert!(Mxc::new("a.example:8448", "abc-DEF_123").is_some());
    for (server, id) in [
        ("a.example", ".."),
        ("a.example", "a/b"),
        ("a.example", ""),
        ("a.example", "a.b"),
        ("a/..", "abc"),
        ("", "abc"),
    ] {
        assert!(Mxc::new(server, id).is_none(), "{server} {id}");
    }
}

#[tokio::test]
async fn equal_contents_lie_in_one_file() {
    let (_folder, files) = files();
    let one = files.receive(Body::from("the same"), 100).await.unwrap();
    let two = files.receive(Body::from("the same"), 100).await.unwrap();
    assert_eq!(one, two);
    assert_eq!(std::fs::read(files.path(&one.hash)).unwrap(), b"the same");
}

#[tokio::test]
async fn what_is_too_large_leaves_nothing() {
    let (folder, files) = files();
    let refused = files.receive(Body::from(vec![0; 101]), 100).await;
    assert!(matches!(refused, Err(FileError::TooLarge(100))), "{refused:?}");
    let left = std::fs::read_dir(folder.path().join("media/incoming")).unwrap().count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_broken_stream_leaves_nothing() {
    let (folder, files) = files();
    let parts: [Result<&[u8], std::io::Error>; 2] = [Ok(b"half"), Err(std::io::Error::other("cut"))];
    let refused = files.receive(Body::from_stream(futures_util::stream::iter(parts)), 100).await;
    assert!(matches!(refused, Err(FileError::Broken(_))), "{refused:?}");
    assert_eq!(std::fs::read_dir(folder.path().join("media/incoming")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(folder.path().join("media/files")).unwrap().count(), 0);
}

async fn image(files: &Files, image: DynamicImage, format: ImageFormat) -> [u8; 32] {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    files.receive(Body::from(bytes.into_inner()), 10_000_000).await.unwrap().hash
}

fn wanted(width: u32, height: u32, method: Method) -> Wanted {
    Wanted { width, height, method }
}

async fn dimensions(thumbnails: &Thumbnails, hash: &[u8; 32], wanted: Wanted) -> (u32, u32, &'static str) {
    match thumbnails.make(hash, wanted).await.unwrap() {
        Made::Original => panic!("no thumbnail was made"),
        Made::Thumbnail { path, content_type, .. } => {
            let made = image::load_from_memory(&std::fs::read(path).unwrap()).unwrap();
            (made.width(), made.height(), content_type)
        }
    }
}

#[tokio::test]
async fn thumbnails_have_the_sizes_of_the_specification() {
    let (_folder, files) = files();
    let thumbnails = Thumbnails::new(files.clone());
    let photo = image(&files, DynamicImage::ImageRgb8(RgbImage::new(2000, 1000)), ImageFormat::Jpeg).await;
    assert_eq!(dimensions(&thumbnails, &photo, wanted(30, 30, Method::Crop)).await, (32, 32, "image/jpeg"));
    assert_eq!(dimensions(&thumbnails, &photo, wanted(96, 96, Method::Crop)).await, (96, 96, "image/jpeg"));
    assert_eq!(dimensions(&thumbnails, &photo, wanted(320, 240, Method::Scale)).await, (320, 160, "image/jpeg"));
    assert_eq!(dimensions(&thumbnails, &photo, wanted(700, 500, Method::Scale)).await, (800, 400, "image/jpeg"));
    let drawing = image(&files, DynamicImage::ImageRgba8(RgbaImage::new(500, 500)), ImageFormat::Png).await;
    assert_eq!(dimensions(&thumbnails, &drawing, wanted(32, 32, Method::Crop)).await, (32, 32, "image/png"));
}

#[tokio::test]
async fn nothing_is_made_larger_than_it_is() {
    let (_folder, files) = files();
    let thumbnails = Thumbnails::new(files.clone());
    let small = image(&files, DynamicImage::ImageRgb8(RgbImage::new(20, 10)), ImageFormat::Png).await;
    assert_eq!(thumbnails.make(&small, wanted(320, 240, Method::Scale)).await.unwrap(), Made::Original);
    let photo = image(&files, DynamicImage::ImageRgb8(RgbImage::new(3000, 2000)), ImageFormat::Jpeg).await;
    assert_eq!(thumbnails.make(&photo, wanted(1920, 1080, Method::Scale)).await.unwrap(), Made::Original);
}

#[tokio::test]
async fn what_is_no_image_has_no_thumbnail() {
    let (_folder, files) = files();
    let thumbnails = Thumbnails::new(files.clone());
    let text = files.receive(Body::from("no image"), 100).await.unwrap().hash;
    assert!(thumbnails.make(&text, wanted(32, 32, Method::Crop)).await.is_err());
    assert!(thumbnails.make(&text, wanted(3200, 3200, Method::Crop)).await.is_err());
}

#[tokio::test]
async fn a_small_file_that_says_to_be_a_huge_image_is_not_decoded() {
    let (_folder, files) = files();
    let thumbnails = Thumbnails::new(files.clone());
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(RgbImage::new(1, 1)).write_to(&mut bytes, ImageFormat::Png).unwrap();
    let mut png = bytes.into_inner();
    // The IHDR chunk: its length and type are 8 bytes behind the signature, then width and height; its checksum follows.
    png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    let bomb = files.receive(Body::from(png), 10_000).await.unwrap().hash;
    let refused = thumbnails.make(&bomb, wanted(32, 32, Method::Crop)).await;
    assert!(matches!(refused, Err(super::DownloadError::TooLarge)), "{refused:?}");
}

/// CRC-32 as PNG has it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
