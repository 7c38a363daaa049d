"""Semantic segmentation: reduced backbones under mmsegmentation's data, losses and metric, and mmengine's Runner."""
