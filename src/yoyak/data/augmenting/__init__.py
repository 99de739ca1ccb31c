"""Augmentation of train: noise, variation, renaming, rewritten turns, pseudo-labels; and views of dialogues."""
