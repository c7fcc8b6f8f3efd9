"""What the renters' pages share: who visits, forms, faults in the reader's words, and how pages are drawn."""
