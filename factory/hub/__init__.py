"""From a run directory to a dataset repository on the Hugging Face Hub.

`files` says what may go there, `refusals` and `secrets` what must not, `remote` talks to the Hub, `pushing` does it in order.
"""
