"""What tuning leaves behind, and texts drawn with it: a soft prompt or LoRA adapters, and the model that they are for.

`artifact` is the numbers with what must be known of them, as bytes for the journal; `folders` writes them as files, for peft
too; `drawing` opens a `Drawer` over them, through transformers or vLLM. Nothing here reads private data: all of it is
post-processing of what was learnt with noise.
"""
