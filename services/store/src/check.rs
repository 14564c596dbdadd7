//! Whether a call fits its table: the same answers from every engine, before anything is written.

use crate::{
    Column, ConditionalBatch, ConditionalStep, Consistency, Key, Kind, Mutation, Scan, StoreError,
    Table, Value,
};

type Checked = Result<(), StoreError>;
type Named = [(&'static str, Value)];

impl Table {
    /// Whether the description itself makes sense. Engines check it in
    /// [`crate::Store::create_tables`].
    pub fn check(&'static self) -> Checked {
        if self.partition.is_empty() {
            return Err(self.misuse("no partition column"));
        }
        if !self.statics.is_empty() && (self.kind != Kind::Cas || self.clustering.is_empty()) {
            return Err(self.misuse("statics need kind Cas and a clustering column"));
        }
        let mut names: Vec<_> = self.columns().map(|column| column.name).collect();
        names.push(self.name);
        if names.iter().any(|name| !is_cql_name(name)) {
            return Err(self.misuse("a name is not a lower-case CQL name"));
        }
        names.pop();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(self.misuse("two columns have the same name"));
        }
        Ok(())
    }

    /// All columns, keys first.
    pub fn columns(&'static self) -> impl Iterator<Item = &'static Column> {
        [self.partition, self.clustering, self.statics, self.values]
            .into_iter()
            .flatten()
    }

    /// Whether the values are a partition of this table.
    pub fn check_partition(&'static self, partition: &[Value]) -> Checked {
        self.check_tuple("partition", self.partition, partition)?;
        self.check_key_bytes(partition.iter().map(Value::bytes).sum())
    }

    /// Whether this is a full key of this table.
    pub fn check_key(&'static self, key: &Key) -> Checked {
        self.check_tuple("partition", self.partition, &key.partition)?;
        self.check_tuple("clustering", self.clustering, &key.clustering)?;
        self.check_key_bytes(
            key.partition
                .iter()
                .chain(&key.clustering)
                .map(Value::bytes)
                .sum(),
        )
    }

    /// Whether [`crate::Store::get`] may be asked for this key with this consistency.
    pub fn check_get(&'static self, key: &Key, consistency: Consistency) -> Checked {
        if consistency == Consistency::Serial && self.kind != Kind::Cas {
            return Err(self.misuse("only Cas tables are read serially"));
        }
        if self.asks_for_statics(key) {
            return self.check_partition(&key.partition);
        }
        self.check_key(key)
    }

    /// Whether a read of this key asks for the static columns alone.
    pub fn asks_for_statics(&self, key: &Key) -> bool {
        !self.statics.is_empty() && key.clustering.is_empty()
    }

    /// A [`StoreError::Misuse`] of this table.
    pub fn misuse(&self, reason: impl Into<String>) -> StoreError {
        StoreError::Misuse {
            table: self.name,
            reason: reason.into(),
        }
    }

    fn check_tuple(&'static self, what: &str, columns: &[Column], values: &[Value]) -> Checked {
        if columns.len() != values.len() {
            return Err(self.misuse(format!(
                "{} {what} values for {} columns",
                values.len(),
                columns.len()
            )));
        }
        self.check_prefix(what, columns, values)
    }

    fn check_prefix(&'static self, what: &str, columns: &[Column], values: &[Value]) -> Checked {
        if values.len() > columns.len() {
            return Err(self.misuse(format!("more {what} values than columns")));
        }
        for (column, value) in columns.iter().zip(values) {
            if *value == Value::Null {
                return Err(self.misuse(format!("null in key column {}", column.name)));
            }
            self.check_fits(column, value)?;
        }
        Ok(())
    }

    fn check_fits(&'static self, column: &Column, value: &Value) -> Checked {
        if value.fits(column.kind) {
            return Ok(());
        }
        Err(self.misuse(format!(
            "column {} is {:?}, not the type of the value",
            column.name, column.kind
        )))
    }

    fn check_key_bytes(&'static self, bytes: usize) -> Checked {
        self.check_bytes("key", bytes, Self::KEY_BYTES_MAX)
    }

    fn check_bytes(&'static self, what: &'static str, bytes: usize, bytes_max: usize) -> Checked {
        if bytes <= bytes_max {
            return Ok(());
        }
        Err(StoreError::TooLarge {
            table: self.name,
            what,
            bytes,
            bytes_max,
        })
    }

    /// Names exist among the columns, at most once each, with values that fit.
    fn check_named(&'static self, columns: &[Column], named: &Named) -> Checked {
        for (at, (name, value)) in named.iter().enumerate() {
            let Some(column) = columns.iter().find(|column| column.name == *name) else {
                return Err(self.misuse(format!("no column {name} to set or compare here")));
            };
            if named.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(self.misuse(format!("column {name} is named twice")));
            }
            self.check_fits(column, value)?;
        }
        self.check_bytes("row", named_bytes(named), Self::ROW_BYTES_MAX)
    }
}

impl Scan {
    /// Whether the scan fits its table.
    pub fn check(&self) -> Checked {
        let table = self.table;
        table.check_partition(&self.partition)?;
        for bound in [&self.range.from, &self.range.to] {
            table.check_prefix("clustering", table.clustering, bound)?;
            table.check_key_bytes(bound.iter().map(Value::bytes).sum())?;
        }
        if self.range.from_exclusive && self.range.from.is_empty()
            || self.range.to_exclusive && self.range.to.is_empty()
        {
            return Err(table.misuse("an empty bound cannot be exclusive"));
        }
        if self.limit == 0 || self.limit > Self::LIMIT_MAX {
            return Err(table.misuse(format!("limit {} of a scan", self.limit)));
        }
        Ok(())
    }
}

impl Mutation {
    /// Whether the write fits its table.
    pub fn check(&self) -> Checked {
        let table = self.table();
        table.check_key(self.key())?;
        match (self, table.kind) {
            (_, Kind::Cas) => Err(table.misuse("a Cas table takes conditional batches only")),
            (Self::Delete(_), Kind::Once) => Err(table.misuse("rows of a Once table expire")),
            (Self::Put(put), Kind::Once) if put.expires_at_ms.is_none() => {
                Err(table.misuse("a row of a Once table needs an expiry"))
            }
            (Self::Put(put), _) => check_put_values(table, &put.values),
            (Self::Delete(_), Kind::Stamped) => Ok(()),
        }
    }
}

impl Mutation {
    /// Largest call of [`crate::Store::apply`] (keys and values of all its mutations), in bytes.
    pub const TOTAL_BYTES_MAX: usize = 16 * 1024 * 1024;

    /// The bytes of all mutations of one call, if they stay within the bound.
    pub fn check_total(mutations: &[Self]) -> Result<usize, StoreError> {
        let bytes = mutations.iter().map(Self::bytes).sum();
        let Some(first) = mutations.first() else {
            return Ok(bytes);
        };
        first
            .table()
            .check_bytes("batch", bytes, Self::TOTAL_BYTES_MAX)?;
        Ok(bytes)
    }

    fn bytes(&self) -> usize {
        let key = self.key();
        let values = match self {
            Self::Put(put) => put.values.as_slice(),
            Self::Delete(_) => &[],
        };
        let all = key.partition.iter().chain(&key.clustering).chain(values);
        all.map(Value::bytes).sum()
    }
}

fn check_put_values(table: &'static Table, values: &[Value]) -> Checked {
    if values.len() != table.values.len() {
        return Err(table.misuse("a put binds every value column"));
    }
    for (column, value) in table.values.iter().zip(values) {
        table.check_fits(column, value)?;
    }
    let bytes = values.iter().map(Value::bytes).sum();
    table.check_bytes("row", bytes, Table::ROW_BYTES_MAX)
}

impl ConditionalBatch {
    /// Largest batch (keys and values of all its steps), in bytes.
    pub const BYTES_MAX: usize = 2 * 1024 * 1024;
    /// Most steps of one batch.
    pub const STEPS_MAX: usize = 256;

    /// Whether the batch fits its table and can be said in CQL: all its steps carry one timestamp
    /// there, so no two of them may write the same row, and nothing is written beside
    /// [`ConditionalStep::DeleteRows`].
    pub fn check(&self) -> Checked {
        let table = self.table;
        if table.kind != Kind::Cas {
            return Err(table.misuse("conditional batches are for Cas tables"));
        }
        table.check_partition(&self.partition)?;
        if self.steps.len() > Self::STEPS_MAX {
            return Err(table.misuse(format!("{} steps in a batch", self.steps.len())));
        }
        for step in &self.steps {
            self.check_step(step)?;
        }
        if !self.steps.iter().any(ConditionalStep::is_conditional) {
            return Err(table.misuse("no step of the batch has a condition"));
        }
        self.check_overlap()?;
        table.check_bytes("batch", self.bytes(), Self::BYTES_MAX)
    }

    /// The bytes that count towards [`ConditionalBatch::BYTES_MAX`].
    pub fn bytes(&self) -> usize {
        self.steps.iter().map(ConditionalStep::bytes).sum()
    }

    fn check_step(&self, step: &ConditionalStep) -> Checked {
        let table = self.table;
        if let Some(clustering) = step.clustering() {
            table.check_key(&Key::new(self.partition.clone(), clustering.to_vec()))?;
        }
        let columns = if step.is_static() {
            table.statics
        } else {
            table.values
        };
        table.check_named(columns, step.set())?;
        table.check_named(columns, step.conditions())?;
        match step {
            ConditionalStep::UpdateStatics { set, .. } | ConditionalStep::Update { set, .. }
                if set.is_empty() =>
            {
                Err(table.misuse("an update sets nothing"))
            }
            ConditionalStep::InsertStaticsIfNotExists { set } if all_null(set) => {
                Err(table.misuse("statics without a value do not exist"))
            }
            ConditionalStep::Update { conditions, .. }
            | ConditionalStep::Delete { conditions, .. }
                if all_null(conditions) =>
            {
                Err(table.misuse("a row's conditions need one that is not null"))
            }
            ConditionalStep::DeleteStatics { conditions } if conditions.is_empty() => {
                Err(table.misuse("a delete of statics needs a condition"))
            }
            _ => Ok(()),
        }
    }

    fn check_overlap(&self) -> Checked {
        let statics = self.steps.iter().filter(|step| step.is_static()).count();
        if statics > 1 {
            return Err(self.table.misuse("two steps of a batch write the statics"));
        }
        let mut rows: Vec<_> = self
            .steps
            .iter()
            .filter_map(ConditionalStep::clustering)
            .collect();
        let deletes_rows = self.steps.contains(&ConditionalStep::DeleteRows);
        if deletes_rows && !rows.is_empty() {
            return Err(self
                .table
                .misuse("a batch that deletes the rows names a row"));
        }
        rows.sort_unstable();
        if rows.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(self.table.misuse("two steps of a batch write the same row"));
        }
        Ok(())
    }
}

impl ConditionalStep {
    /// The clustering columns' values, if the step is about one row.
    pub fn clustering(&self) -> Option<&[Value]> {
        match self {
            Self::Insert { clustering, .. }
            | Self::InsertIfNotExists { clustering, .. }
            | Self::Update { clustering, .. }
            | Self::Delete { clustering, .. } => Some(clustering),
            _ => None,
        }
    }

    /// Whether the step is about the static columns.
    pub fn is_static(&self) -> bool {
        matches!(
            self,
            Self::UpdateStatics { .. }
                | Self::InsertStaticsIfNotExists { .. }
                | Self::DeleteStatics { .. }
        )
    }

    /// The columns that the step sets.
    pub fn set(&self) -> &[(&'static str, Value)] {
        match self {
            Self::UpdateStatics { set, .. }
            | Self::InsertStaticsIfNotExists { set }
            | Self::Insert { set, .. }
            | Self::InsertIfNotExists { set, .. }
            | Self::Update { set, .. } => set,
            Self::Delete { .. } | Self::DeleteStatics { .. } | Self::DeleteRows => &[],
        }
    }

    /// The column values that the step requires (`IF NOT EXISTS` aside).
    pub fn conditions(&self) -> &[(&'static str, Value)] {
        match self {
            Self::UpdateStatics { conditions, .. }
            | Self::Update { conditions, .. }
            | Self::Delete { conditions, .. }
            | Self::DeleteStatics { conditions } => conditions,
            _ => &[],
        }
    }

    /// Whether the step can refuse the batch.
    pub fn is_conditional(&self) -> bool {
        matches!(
            self,
            Self::InsertStaticsIfNotExists { .. } | Self::InsertIfNotExists { .. }
        ) || !self.conditions().is_empty()
    }

    fn bytes(&self) -> usize {
        let clustering = self.clustering().unwrap_or_default();
        clustering.iter().map(Value::bytes).sum::<usize>() + named_bytes(self.set())
    }
}

fn named_bytes(named: &Named) -> usize {
    named.iter().map(|(_, value)| value.bytes()).sum()
}

fn all_null(named: &Named) -> bool {
    named.iter().all(|(_, value)| *value == Value::Null)
}

fn is_cql_name(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    starts && name.len() <= 48 && name.chars().all(allowed)
}
