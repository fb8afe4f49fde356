//! A run with a small network.

/// The configuration of a run with a small network: 2 steps an epoch for 6 training images.
pub(crate) const CONFIG: &str = r#"{
    "network": {"grid": [4, 4], "neighbor_mask": [1, 1], "levels": 2, "narrow_width": 8, "chunk_width": 8, "heads": 2,
                "ffn_width": 8, "encoder_layers": 1, "memory_slots": 6},
    "train": {"epochs": 8, "batch_size": 4, "schedule": {"warmup_steps": 2}}
}"#;
