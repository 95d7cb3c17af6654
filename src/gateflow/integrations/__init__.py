"""Gateflow beside others: the Hugging Face Hub, and training loops that are not ours.

Each module imports the library it is for, and no other: `hub` needs huggingface_hub, which comes along; the others have
an extra of their name, ``pip install gateflow[lightning]``.
"""
