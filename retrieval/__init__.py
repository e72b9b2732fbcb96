"""The retriever: trained on the published shards, evaluated by the field's own protocols."""
