"""What trainings read: the splits, the masks and the tokenizers, as `yoyak prepare` and studies write them."""
