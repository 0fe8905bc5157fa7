//! The OpenAPI document, made from the table of routes and from the types of the SDK.

use super::routes::{Answer, Route};
use dots_clients::types::*;
use serde_json::{Value, json};
use utoipa::{
    OpenApi,
    openapi::{
        Components, ContentBuilder, InfoBuilder, OpenApiBuilder, PathItem, PathsBuilder, Ref, RefOr,
        Required, ResponseBuilder, SecurityRequirement,
        path::{OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type},
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

#[derive(OpenApi)]
#[openapi(components(schemas(
    Status,
    PeerInfo,
    BindingInfo,
    LookupInfo,
    LookupBinding,
    AttestInfo,
    CallInfo,
    ReceiptInfo,
    AliasInfo,
    RealmInfo,
    AccountInfo,
    AccountChange,
    AccountImport,
    Imported,
    AliasChange,
    RealmChange,
    Changed,
    Problem
)))]
struct Schemas;

pub fn document(routes: &[Route]) -> Value {
    let mut components = Schemas::openapi().components.unwrap_or_else(Components::new);
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let mut paths = PathsBuilder::new();
    for route in routes {
        paths = paths.path(route.path, PathItem::new((route.method)(), operation(route)));
    }
    let info = InfoBuilder::new().title("DOTS peer").version(env!("CARGO_PKG_VERSION"));
    let document = OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build();
    serde_json::to_value(document).unwrap_or_else(|e| json!({ "error": e.to_string() }))
}

fn operation(route: &Route) -> OperationBuilder {
    let mut o = OperationBuilder::new().summary(Some(route.summary));
    for name in route.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')) {
        o = o.parameter(parameter(name, ParameterIn::Path, Type::String));
    }
    if let Answer::List(key, _) = route.answer {
        o = o.parameter(parameter("limit", ParameterIn::Query, Type::Integer));
        o = o.parameter(parameter("after", ParameterIn::Query, Type::String));
        if key == "receipts" {
            o = o.parameter(parameter("verify", ParameterIn::Query, Type::Boolean));
        }
    }
    if route.path.ends_with("/import") {
        for name in ["replace", "check", "ha1"] {
            o = o.parameter(parameter(name, ParameterIn::Query, Type::Boolean));
        }
    }
    if let Some(body) = route.body {
        let content = ContentBuilder::new().schema(Some(schema(body))).build();
        let body = RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True));
        o = o.request_body(Some(body.build()));
    }
    if route.token {
        o = o.security(SecurityRequirement::new("token", Vec::<String>::new()));
        o = o.response("401", answered("No token, or a wrong one", JSON, schema("Problem")));
    }
    let (kind, content) = match route.answer {
        Answer::One(name) => (JSON, schema(name)),
        Answer::List(key, item) => (JSON, page(key, item)),
        Answer::Object => (JSON, plain(Type::Object)),
        Answer::Text => ("application/openmetrics-text", plain(Type::String)),
    };
    o.response("200", answered("Done", kind, content))
        .response("default", answered("What was wrong and what to do", JSON, schema("Problem")))
}

const JSON: &str = "application/json";

fn answered(what: &str, kind: &str, content: RefOr<Schema>) -> utoipa::openapi::Response {
    let content = ContentBuilder::new().schema(Some(content)).build();
    ResponseBuilder::new().description(what).content(kind, content).build()
}

fn parameter(name: &str, place: ParameterIn, kind: Type) -> ParameterBuilder {
    let required = if place == ParameterIn::Path { Required::True } else { Required::False };
    ParameterBuilder::new().name(name).parameter_in(place).required(required).schema(Some(plain(kind)))
}

fn schema(name: &str) -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(name))
}

fn plain(kind: Type) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(SchemaType::new(kind)).into()
}

fn page(key: &str, item: &str) -> RefOr<Schema> {
    let next = ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]));
    let object = ObjectBuilder::new()
        .property(key, ArrayBuilder::new().items(schema(item)))
        .property("next", next)
        .required(key)
        .required("next");
    object.into()
}
