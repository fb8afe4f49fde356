//! The words for masks in several languages.

/// The words besides the usual English ones, in lower case and without accents.
const WORDS: &str = "annot annotationen annotationmap annotationmaps annotierung annotierungen binary binarymask binarymasks defectmask \
    defectmasks groundtruths gts labelmap labelmaps mascara mascaras maschera maschere maske masken maskeler masker maskers \
    maski maskierung maskierungen maska masky masque masques msk msks segm segmap segmaps segmask segmasks segmentacao segmentacion \
    segmentaciones segmentations segmentationmask segmentationmasks segmentazione segmentazioni segmentierung segmentierungen truth \
    маска маски разметка сегментация マスク マスク画像 正解 正解マスク 掩码 掩膜 掩模 标注 標註 蒙版 遮罩 마스크 정답";

/// Returns whether a word is one for masks in another language than English, or a usual one for binary pictures.
pub(super) fn is_mask_word(word: &str) -> bool {
    WORDS.split_whitespace().any(|known| known == word)
}
