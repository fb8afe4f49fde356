//! The first inputs of every target.

use std::path::Path;

use dualad::calibration::Calibration;

use crate::{images, readers};

/// A target's name, a name for the input, and the input.
pub type Seed = (&'static str, String, Vec<u8>);

/// Returns the seeds of all targets.
pub fn seeds() -> Vec<Seed> {
    let mut seeds: Vec<Seed> = Vec::new();
    let mut seed = |target, name: &str, bytes: &[u8]| seeds.push((target, name.to_owned(), bytes.to_vec()));

    let (config, parameters) = readers::model();
    seed("model_config", "model", config);
    seed("model_parameters", "model", parameters);
    seed("weights", "other", parameters);
    seed("weights", "empty", b"\x02\0\0\0\0\0\0\0{}");
    seed("weights", "long", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}");

    for (name, bytes) in images::files() {
        seed("image", &name, &bytes);
    }
    seed("raw_image", "rgb", &[&[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[7u8; 18][..]].concat());
    seed("raw_image", "strided", &[&[0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 2], &[7u8; 11][..]].concat());

    let requests: [(&str, &str, &[u8]); 6] = [
        ("health", "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", b""),
        (
            "raw",
            "POST /inspect?heatmap=1 HTTP/1.1\r\nContent-Type: application/octet-stream\r\nX-Image-Shape: 2,3,3\r\nContent-Length: 18\r\n\r\n",
            &[7; 18],
        ),
        (
            "grey",
            "POST /heatmap HTTP/1.1\r\nContent-Type: application/octet-stream\r\nX-Image-Shape: 2,2,1\r\nX-Image-Format: grey8\r\nContent-Length: 4\r\n\r\n",
            &[9; 4],
        ),
        (
            "chunked",
            "POST /inspect HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Image-Name: a.png\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
            b"",
        ),
        (
            "category",
            "POST /inspect?category=%67ear HTTP/1.1\r\nContent-Type: image/png\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
            b"\x89PN",
        ),
        (
            "nowhere",
            "PUT /../etc HTTP/1.0\r\nContent-Encoding: gzip\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"",
        ),
    ];
    for (name, head, body) in requests {
        seed("serve", name, &[head.as_bytes(), body].concat());
    }

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dualad/tests/fixtures");
    for file in std::fs::read_dir(fixtures).into_iter().flatten().flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.contains(".pth") {
            seed("pth", &name, &std::fs::read(file.path()).expect("a fixture"));
        }
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dualad-backbones/tests/fixtures/pytorch");
    for file in std::fs::read_dir(fixtures).into_iter().flatten().flatten() {
        let (name, bytes) = (file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path()));
        let bytes = bytes.expect("a fixture");
        seed("pytorch", &name, &bytes);
        seed("weights", &name, &bytes);
    }
    seed("pth", "zip", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");

    let bounds = r#"{"format": 1, "pooled": {"review": 0.5, "reject": 0.7}, "categories": {}}"#;
    let text =
        Calibration::from_json("seed", bounds).and_then(|calibration| calibration.to_json()).expect("thresholds");
    seed("calibration", "plain", text.as_bytes());
    let recipe = r#"{"network": {"grid": [4, 4], "neighbor_mask": [1, 1], "levels": 2, "memory_slots": 6, "jitter": null},
        "train": {"epochs": 3, "batch_size": 4, "optimizer": {"clip_norm": null}, "schedule": {"warmup_steps": 2}}}"#;
    seed("recipe", "plain", recipe.as_bytes());
    seed(
        "layout",
        "mvtec",
        b"gear/train/good/0.png\ngear/test/good/0.png\ngear/test/dent/0.png\ngear/ground_truth/dent/0_mask.png\n",
    );
    seed("layout", "folder", b"train/0.png\ntrain/1.jpg\ntest/good/2.png\n");
    seed("layout", "anomalib", b"good/0.png\nNG/crack/1.jpg\nmask/crack/1_GT.png\nThumbs.db\n@eaDir/0.png\n");
    seed("layout", "btad", b"01/Train/ok/0.bmp\n01/test/ko/1.jfif\n01/ground_truth/ko/1.png\n01/test/OK/2\n");
    seed("layout", "products", b"gear/0.png\ngear/0_label.bmp\nplate/ng_1.png\nplate/2.heic\n");
    seed("layout", "visa", b"split_csv/1cls.csv=object,split,label,image,mask|nut,train,normal,nut/Data/Images/Normal/0.JPG,\nnut/Data/Images/Normal/0.JPG\n");
    seed(
        "layout",
        "lists",
        b"nut/train/good/000.png\nnut/test/good/001.png\nnut/t.csv=path,label|test/good/001.png,dent|train/good/000.png,ok\nnut/list.yaml=001.png: scratch\n",
    );
    seed("layout", "numbered", b"nut/train/good/0.png\nnut/test/dent/a.jpg\nnut/ground_truth/dent/a_0.png\nnut/ground_truth/dent/a.jpg.png\nnut/validation/good/1.png\n");
    let coco = r#"{"images": [{"id": 1, "file_name": "a.bmp", "width": 8, "height": 4}, {"id": 2, "file_name": "x/b.bmp"}],
        "categories": [{"id": 0, "name": "dent"}, {"id": 1, "name": "ok"}], "annotations": [
        {"image_id": 1, "category_id": 0, "segmentation": [[1, 1, 5.5, 1, 5, 3]], "bbox": [1, 1, 4, 2]},
        {"image_id": 1, "category_id": 1, "segmentation": [], "bbox": [0, 0, 3, 2]},
        {"image_id": 2, "category_id": 0, "segmentation": {"counts": [1, 2, 1, 1, 27], "size": [4, 8]}},
        {"image_id": 2, "category_id": 0, "segmentation": {"counts": "121Oj0", "size": [4, 8]}}]}"#;
    seed("coco", "all", coco.as_bytes());
    let labelme = r#"{"flags": {"bad": true}, "imageWidth": 8, "imageHeight": 4, "imageData": null, "shapes": [
        {"label": "dent", "shape_type": "polygon", "points": [[1, 1], [5, 1], [5, 3]]},
        {"label": "dent", "shape_type": "rectangle", "points": [[1, 1], [5, 3]]},
        {"label": "cut", "shape_type": "circle", "flags": {"ok": true}, "points": [[4, 2], [5, 2.5]]},
        {"label": "cut", "shape_type": "linestrip", "points": [[-4, 2], [5, 2.5], [9, 9]]},
        {"label": "ok", "shape_type": "point", "points": [[4, 2]]}]}"#;
    seed("labelme", "all", labelme.as_bytes());
    let csv = "path,category,label,label_index,split,mask\na.bmp,nut,good,0,train,\nb.bmp,nut,dent,1,test,a.bmp\n";
    seed("table", "csv", csv.as_bytes());
    seed("table", "semicolons", csv.replace(',', ";").as_bytes());
    seed("table", "hint", format!("sep=,\r\n{},,,,,\r\n", csv.replace('\n', "\r\n")).as_bytes());
    seed("table", "carriage-returns", csv.replace('\n', "\r").as_bytes());
    let lines = r#"{"image_path": "a.bmp", "label": "normal", "label_index": 0, "mask_path": null}
{"image_path": "b.bmp", "label": "abnormal", "label_index": 1, "mask_path": "a.bmp"}"#;
    seed("table", "lines", lines.as_bytes());
    // Columns that contradict each other.
    let contradicting = "path,label,label_index,mask\na.bmp,good,1,\na.bmp,OK,0,b.bmp\nb.bmp,dent,0,\n";
    seed("table", "contradicting", contradicting.as_bytes());
    // The content of a file ends at its line.
    let layouts: [(&str, &[u8]); 9] = [
        ("kolektor", b"kos01/Part0.jpg\nkos01/Part0_label.bmp=x\n"),
        ("kolektor-2", b"train/1.png\ntrain/1_GT.png=x\ntest/2.png\ntest/2_GT.png\n"),
        ("dagm", b"Class1/Train/1.PNG\nClass1/Train/Label/1_label.PNG\nClass1/Test/2.PNG\n"),
        ("mvtec-3d", b"bagel/train/good/rgb/0.png\nbagel/test/hole/rgb/0.png\nbagel/test/hole/gt/0.png\n"),
        ("mvtec-ad-2", b"can/train/good/0.png\ncan/test_public/bad/0.png\ncan/test_private/0.png\n"),
        // Annotations of programs whose shapes are not read tell only what they mark.
        ("yolo", b"images/0.png\nimages/1.png\nlabels/0.txt=0 0.5 0.5 0.25 0.1\nlabels/1.txt\ndata.yaml=names: [dent]\n"),
        ("voc", b"gear/0.png\ngear/0.xml=<annotation><filename>0.png</filename><object><name>dent</name></object></annotation>\n"),
        ("cvat", b"gear/train/good/0.png\nannotations.xml=<annotations><image id=\"0\" name=\"0.png\"><polygon label=\"dent\"/></image></annotations>\n"),
        ("damaged", b"gear/good/0.png\ngear/good/0.json={\"shapes\": [{\"label\"\ngear/good/instances.json={\"images\"\n"),
    ];
    for (name, content) in layouts {
        seed("layout", name, content);
    }
    let real = b"realiad_jsons/nut.json={\"meta\": {\"normal_class\": \"OK\"}, \"train\": [{\"anomaly_class\": \"OK\", \"image_path\": \"OK/S1/0.jpg\", \"mask_path\": null}]}\nrealiad_256/nut/OK/S1/0.jpg\n";
    seed("layout", "real-iad", real);
    seeds
}
