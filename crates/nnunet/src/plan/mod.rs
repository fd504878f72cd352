//! Every planning decision, from a fingerprint to nnUNetPlans.json.
