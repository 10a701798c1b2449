"""Teaching the completion model: from scratch (pretrain) and on one video (finetune)."""
