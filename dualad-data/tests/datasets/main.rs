//! Datasets as folders, lists and files of annotations describe them.

mod alike;
mod annotations;
mod around;
mod bare_masks;
mod check;
mod coco;
mod derived;
mod encodings;
mod folders;
mod labelme;
mod labels;
mod layouts;
mod lists;
mod mask_files;
mod mask_folders;
mod masks;
mod mixed;
mod near_misses;
mod products;
mod published;
mod real_data;
mod reasons;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod test_masks;
mod train_masks;
mod training_labels;
mod visa;
