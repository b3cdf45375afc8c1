//! `GET /openapi.json`: the same table that makes the router, as an `OpenAPI` 3.1 document.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Map, Value, json};

use super::super::JSON;
use super::{ROUTES, Room, Route};

/// What is sent to a route, and what comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Token,
    Introspection,
    Discovery,
    Amigo,
    Hyperspell,
    Me,
    OpenApi,
}

pub(super) async fn openapi(State(room): State<Room>) -> Response {
    let origin = room.reach.as_ref().as_ref().ok().map(ToString::to_string);
    let headers = [(CONTENT_TYPE, JSON), (CACHE_CONTROL, http::HeaderValue::from_static("public, max-age=300"))];
    let response = (headers, document(origin.as_deref()).to_string()).into_response();
    room.service.desk.metrics.http.discovery.count(response.status());
    response
}

/// The document, of a service that clients reach under this origin.
pub fn document(origin: Option<&str>) -> Value {
    let mut paths = Map::new();
    for route in &ROUTES {
        let path = paths.entry(route.path).or_insert_with(|| json!({ "parameters": parameters(route.path) }));
        path[route.method] = operation(route);
    }
    let servers: Vec<Value> = origin.into_iter().map(|url| json!({ "url": url })).collect();
    let text = |name: &str| (name.to_owned(), json!({ "type": "string" }));
    let mut refused: Map<_, _> = ["error", "code", "error_description", "hint"].into_iter().map(text).collect();
    refused["code"]["description"] = json!("What programs may rely on: docs/tokens.md lists them.");
    json!({
        "openapi": "3.1.0",
        "info": { "title": "keyrota: tokens", "version": env!("CARGO_PKG_VERSION") },
        "servers": servers,
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "An API key, or where it says so a user token." },
                "basic": { "type": "http", "scheme": "basic", "description": "The keyset of the API key, or its kid, and the API key." },
                "header": { "type": "apiKey", "in": "header", "name": "x-api-key" },
            },
            "schemas": { "Refused": { "type": "object", "properties": refused } },
        },
    })
}

fn parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect()
}

fn operation(route: &Route) -> Value {
    let is_open = matches!(route.shape, Shape::Discovery | Shape::OpenApi);
    let answer = json!({ "description": "Done.", "content": { "application/json": { "schema": answered(route.shape) } } });
    let mut operation = json!({
        "summary": route.summary,
        "responses": { "200": answer },
        "security": if is_open { json!([]) } else { json!([{ "bearer": [] }, { "header": [] }, { "basic": [] }]) },
    });
    if !is_open {
        let refused = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/Refused" } } });
        let reasons = [
            ("400", "The request, or its proof of possession, is not understood."),
            ("401", "No credential that is accepted here."),
            ("403", "Not for that subject; or tokens are not served where everybody could read them."),
            ("422", "Not allowed, with the reason."),
            ("429", "Too often; `Retry-After` says when to ask again."),
            ("503", "This replica may be behind its store; `Retry-After` says when to ask again."),
        ];
        for (code, says) in reasons {
            operation["responses"][code] = json!({ "description": says, "content": refused });
        }
        let proof = "A proof of possession (RFC 9449); without one the token is a bearer token.";
        operation["parameters"] =
            json!([{ "name": "DPoP", "in": "header", "required": false, "description": proof, "schema": { "type": "string" } }]);
    }
    if let Some((schema, forms)) = asked(route.shape) {
        let mut content = json!({ "application/json": { "schema": schema } });
        if forms {
            content["application/x-www-form-urlencoded"] = json!({ "schema": schema });
        }
        operation["requestBody"] = json!({ "content": content });
    }
    operation
}

fn object(required: &[&str], fields: &[(&str, &str)]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|(name, kind)| ((*name).to_owned(), kind_of(kind))).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn kind_of(kind: &str) -> Value {
    match kind {
        "time" => json!({ "type": "string", "format": "date-time" }),
        "life" => json!({ "type": ["string", "integer"], "description": "Seconds, or 30s, 15m, 2h, 1d." }),
        kind => json!({ "type": kind }),
    }
}

/// What is sent, and whether forms are taken too.
fn asked(shape: Shape) -> Option<(Value, bool)> {
    let oauth = [("scope", "string"), ("grant_type", "string"), ("client_id", "string"), ("client_secret", "string")];
    match shape {
        Shape::Token => {
            let own = [("sub", "string"), ("ttl", "life"), ("expires_in", "life"), ("claims", "object"), ("refresh_token", "string")];
            Some((object(&[], &[&own[..], &oauth[..]].concat()), true))
        }
        Shape::Introspection => {
            let own = [("token", "string"), ("token_type_hint", "string"), ("presented", "string")];
            Some((object(&["token"], &own), true))
        }
        Shape::Hyperspell => Some((object(&["user_id"], &[("user_id", "string"), ("expires_in", "life"), ("origin", "string")]), false)),
        Shape::Amigo | Shape::Discovery | Shape::Me | Shape::OpenApi => None,
    }
}

fn answered(shape: Shape) -> Value {
    match shape {
        Shape::Token => object(
            &["access_token", "token_type", "expires_in"],
            &[
                ("access_token", "string"),
                ("token_type", "string"),
                ("expires_in", "integer"),
                ("expires_at", "time"),
                ("kid", "string"),
                ("refresh_token", "string"),
                ("refresh_expires_at", "time"),
            ],
        ),
        Shape::Introspection => object(&["active"], &[("active", "boolean"), ("code", "string"), ("reason", "string")]),
        Shape::Amigo => object(&["id_token", "expires_at"], &[("id_token", "string"), ("expires_at", "time")]),
        Shape::Hyperspell => object(&["token", "expires_at"], &[("token", "string"), ("expires_at", "time")]),
        Shape::Me => object(&["id", "app"], &[("id", "string"), ("app", "object"), ("token_expiration", "time")]),
        Shape::Discovery => object(&["issuer", "jwks_uri"], &[("issuer", "string"), ("jwks_uri", "string"), ("token_endpoint", "string")]),
        Shape::OpenApi => json!({ "type": "object" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_parameters_and_operations() {
        let document = document(Some("https://keys.example.com"));
        assert_eq!(document["paths"].as_object().unwrap().len(), ROUTES.len());
        for route in &ROUTES {
            let path = &document["paths"][route.path];
            assert!(path[route.method]["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{}", route.path);
            assert_eq!(path["parameters"].as_array().unwrap().len(), route.path.matches('{').count());
        }
        assert_eq!(document["servers"][0]["url"], "https://keys.example.com");
    }
}
