//! Raw datasets in nnU-Net's layout: dataset.json, cases, labels, splits, verification.
