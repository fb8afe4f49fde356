//! The functions of a model, for sessions.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::SessionContext;

use crate::anomaly_map::Maps;
use crate::folder::ImagesFunction;
use crate::function::Function;
use crate::inspect::Inspections;
use crate::inspector::Inspector;

impl Inspector {
    /// Registers the functions `inspect` and `anomaly_map` of this model, and the table function `images`, for the SQL of a session.
    pub fn register(&self, context: &SessionContext) {
        for function in self.functions() {
            context.register_udf(ScalarUDF::clone(&function));
        }
        context.register_udtf("images", Arc::new(ImagesFunction));
    }

    /// Returns the functions `inspect` and `anomaly_map` of this model, for the session of a worker.
    ///
    /// The names that a plan holds have the beginning of the model's digest, such as `inspect_0123456789abcdef`. So a worker with
    /// another model, or with other thresholds, refuses the plan.
    pub fn functions(&self) -> Vec<Arc<ScalarUDF>> {
        vec![
            Arc::new(ScalarUDF::new_from_impl(Function::<Inspections>::new(self.clone()))),
            Arc::new(ScalarUDF::new_from_impl(Function::<Maps>::new(self.clone()))),
        ]
    }
}
