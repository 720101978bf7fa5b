//! What the rows are: for each stream its columns, each with its schema and its values as a function of seed and id.

use arrow_array::ArrayRef;
use serde_json::Value;

use super::types::{self, Draw, below, digits};

pub struct Column {
    pub name: &'static str,
    pub schema: fn() -> Value,
    pub values: fn(&Draw) -> ArrayRef,
}

pub struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// Rows that do not follow `count`.
    pub fixed: Option<i64>,
}

/// Products are the same for every seed.
pub const PRODUCTS: i64 = 100;

pub static TABLES: [Table; 3] = [
    Table { name: "users", columns: USERS, fixed: None },
    Table { name: "products", columns: PRODUCT, fixed: Some(PRODUCTS) },
    Table { name: "purchases", columns: PURCHASES, fixed: None },
];

pub fn table(name: &str) -> Option<&'static Table> {
    TABLES.iter().find(|table| table.name == name)
}

const fn column(name: &'static str, schema: fn() -> Value, values: fn(&Draw) -> ArrayRef) -> Column {
    Column { name, schema, values }
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// 2000-01-01T00:00:00Z in epoch microseconds.
const FIRST_DAY: i64 = 946_684_800 * SECOND;

// What a random number of a row is used for; two columns that must agree share a purpose.
const CREATED: u64 = 1;
const UPDATED: u64 = 2;
const FIRST: u64 = 3;
const LAST: u64 = 4;
const BODY: u64 = 5;
const PHONE: u64 = 6;
const WORK: u64 = 7;
const PLACE: u64 = 8;
const STREET: u64 = 9;
const PRODUCT_OF: u64 = 10;
const CART: u64 = 11;

/// Some second of the twenty years from 2000 on.
fn created_at(draw: &Draw, id: i64) -> i64 {
    FIRST_DAY + below(draw.number(id, CREATED), 20 * 365 * 86_400).cast_signed() * SECOND
}

fn updated_at(draw: &Draw, id: i64) -> i64 {
    match draw.stamp {
        Some(stamp) => stamp,
        None => created_at(draw, id) + below(draw.number(id, UPDATED), 4 * 365 * 86_400).cast_signed() * SECOND,
    }
}

fn ids(draw: &Draw) -> ArrayRef {
    draw.integers(|id| id)
}

fn created(draw: &Draw) -> ArrayRef {
    draw.instants(|id| created_at(draw, id))
}

fn updated(draw: &Draw) -> ArrayRef {
    draw.instants(|id| updated_at(draw, id))
}

const USERS: &[Column] = &[
    column("id", types::integer, ids),
    column("created_at", types::instant, created),
    column("updated_at", types::instant, updated),
    column("name", types::string, |draw| {
        draw.texts(18, |id, out| {
            out.extend_from_slice(draw.pick(id, FIRST, FIRST_NAMES).as_bytes());
            out.push(b' ');
            out.extend_from_slice(draw.pick(id, LAST, LAST_NAMES).as_bytes());
        })
    }),
    column("title", types::string, |draw| picked(draw, BODY, &["Mr.", "Mrs.", "Ms.", "Mx.", "Dr."])),
    column("age", types::integer, |draw| {
        draw.integers(|id| 18 + below(draw.number(id, BODY).rotate_left(8), 72).cast_signed())
    }),
    column("email", types::string, |draw| {
        draw.texts(36, |id, out| {
            out.extend(draw.pick(id, FIRST, FIRST_NAMES).bytes().map(|byte| byte.to_ascii_lowercase()));
            out.push(b'.');
            out.extend(draw.pick(id, LAST, LAST_NAMES).bytes().map(|byte| byte.to_ascii_lowercase()));
            digits(out, id.cast_unsigned(), 1);
            out.extend_from_slice(b"@example.com");
        })
    }),
    column("telephone", types::string, |draw| {
        draw.texts(16, |id, out| {
            let number = draw.number(id, PHONE);
            out.extend_from_slice(b"+1-");
            digits(out, 200 + below(number, 800), 3);
            out.extend_from_slice(b"-555-");
            digits(out, below(number.rotate_left(24), 10_000), 4);
        })
    }),
    column("gender", types::string, |draw| picked(draw, BODY ^ 0x40, &["Female", "Male", "Other", "Fluid"])),
    column("language", types::string, |draw| picked(draw, PLACE ^ 0x40, LANGUAGES)),
    column("academic_degree", types::string, |draw| {
        picked(draw, WORK ^ 0x40, &["Bachelor", "Master", "PhD", "Diploma", "None"])
    }),
    column("nationality", types::string, |draw| picked(draw, PLACE, NATIONALITIES)),
    column("occupation", types::string, |draw| picked(draw, WORK, OCCUPATIONS)),
    column("height", types::string, |draw| {
        draw.texts(4, |id, out| {
            let centimetres = 150 + below(draw.number(id, BODY).rotate_left(16), 50);
            digits(out, centimetres / 100, 1);
            out.push(b'.');
            digits(out, centimetres % 100, 2);
        })
    }),
    column("blood_type", types::string, |draw| {
        picked(draw, BODY ^ 0x80, &["O+", "A+", "B+", "AB+", "O-", "A-", "B-", "AB-"])
    }),
    column("weight", types::integer, |draw| {
        draw.integers(|id| 45 + below(draw.number(id, BODY).rotate_left(32), 65).cast_signed())
    }),
    column("address", address_schema, addresses),
];

fn picked(draw: &Draw, purpose: u64, choices: &'static [&'static str]) -> ArrayRef {
    draw.texts(12, |id, out| out.extend_from_slice(draw.pick(id, purpose, choices).as_bytes()))
}

fn address_schema() -> Value {
    types::object(&["street_number", "street_name", "city", "state", "province", "postal_code", "country_code"])
}

fn addresses(draw: &Draw) -> ArrayRef {
    draw.texts(190, |id, out| {
        let street = draw.number(id, STREET);
        let state = draw.pick(id, STREET ^ 0x80, STATES);
        out.extend_from_slice(b"{\"street_number\":\"");
        digits(out, 1 + below(street, 1999), 1);
        out.extend_from_slice(b"\",\"street_name\":\"");
        out.extend_from_slice(draw.pick(id, STREET ^ 0x40, STREETS).as_bytes());
        out.extend_from_slice(b"\",\"city\":\"");
        out.extend_from_slice(draw.pick(id, STREET ^ 0x100, CITIES).as_bytes());
        out.extend_from_slice(b"\",\"state\":\"");
        out.extend_from_slice(state.as_bytes());
        out.extend_from_slice(b"\",\"province\":\"");
        out.extend_from_slice(state.as_bytes());
        out.extend_from_slice(b"\",\"postal_code\":\"");
        digits(out, below(street.rotate_left(32), 100_000), 5);
        out.extend_from_slice(b"\",\"country_code\":\"");
        out.extend_from_slice(draw.pick(id, PLACE, COUNTRIES).as_bytes());
        out.extend_from_slice(b"\"}");
    })
}

/// The seed of the products' rows, whatever the configuration says.
fn shelf(draw: &Draw) -> Draw {
    Draw { seed: 0, ..draw.clone() }
}

const PRODUCT: &[Column] = &[
    column("id", types::integer, ids),
    column("make", types::string, |draw| picked(&shelf(draw), 1, MAKES)),
    column("model", types::string, |draw| {
        let shelf = shelf(draw);
        draw.texts(10, |id, out| {
            out.extend_from_slice(shelf.pick(id, 2, MODELS).as_bytes());
            out.push(b' ');
            digits(out, id.cast_unsigned(), 3);
        })
    }),
    column("year", types::integer, |draw| {
        let shelf = shelf(draw);
        draw.integers(|id| 1970 + below(shelf.number(id, 3), 50).cast_signed())
    }),
    column("price", types::number, |draw| {
        let shelf = shelf(draw);
        draw.floats(|id| below(shelf.number(id, 4), 9_000_000) as f64 / 100.0 + 500.0)
    }),
    column("created_at", types::instant, |draw| created(&shelf(draw))),
    column("updated_at", types::instant, |draw| updated(&shelf(draw))),
];

/// When the product was put into the cart, bought and sent back.
fn cart(draw: &Draw, id: i64) -> (i64, Option<i64>, Option<i64>) {
    let number = draw.number(id, CART);
    let added = created_at(draw, id);
    let bought = (below(number, 10) < 7).then(|| added + below(number.rotate_left(16), 86_400).cast_signed() * SECOND);
    let returned = bought
        .filter(|_| below(number.rotate_left(32), 10) == 0)
        .map(|bought| bought + (1 + below(number.rotate_left(48), 30).cast_signed()) * DAY);
    (added, bought, returned)
}

const PURCHASES: &[Column] = &[
    column("id", types::integer, ids),
    column("product_id", types::integer, |draw| {
        draw.integers(|id| 1 + below(draw.number(id, PRODUCT_OF), PRODUCTS.cast_unsigned()).cast_signed())
    }),
    column("user_id", types::integer, ids),
    column("added_to_cart_at", types::optional_instant, |draw| draw.instants(|id| cart(draw, id).0)),
    column("purchased_at", types::optional_instant, |draw| draw.optional_instants(|id| cart(draw, id).1)),
    column("returned_at", types::optional_instant, |draw| draw.optional_instants(|id| cart(draw, id).2)),
    column("created_at", types::instant, created),
    column("updated_at", types::instant, updated),
];

const FIRST_NAMES: &[&str] = &[
    "Ada", "Alan", "Amal", "Anna", "Boris", "Carla", "Chen", "Dana", "Diego", "Edith", "Emil", "Fatima", "Grace",
    "Hana", "Hugo", "Ines", "Ivan", "Jana", "Jonas", "Kofi", "Lena", "Luis", "Maya", "Milan", "Nadia", "Nils", "Olga",
    "Omar", "Priya", "Rosa", "Samir", "Yuki",
];
const LAST_NAMES: &[&str] = &[
    "Abel", "Baker", "Berg", "Brook", "Castro", "Cole", "Diaz", "Evans", "Fischer", "Frost", "Garcia", "Haas", "Ito",
    "Jansen", "Keller", "Kim", "Lang", "Lopez", "Moreau", "Novak", "Okafor", "Patel", "Quist", "Rossi", "Sato",
    "Silva", "Stone", "Tanaka", "Varga", "Weber", "Young", "Zhang",
];
const LANGUAGES: &[&str] =
    &["Arabic", "Czech", "English", "French", "German", "Hindi", "Italian", "Japanese", "Spanish"];
const NATIONALITIES: &[&str] = &["American", "Brazilian", "Czech", "French", "German", "Indian", "Italian", "Japanese"];
/// In the order of the nationalities.
const COUNTRIES: &[&str] = &["US", "BR", "CZ", "FR", "DE", "IN", "IT", "JP"];
const OCCUPATIONS: &[&str] = &[
    "Architect",
    "Baker",
    "Carpenter",
    "Dentist",
    "Electrician",
    "Farmer",
    "Gardener",
    "Librarian",
    "Mechanic",
    "Nurse",
    "Pilot",
    "Plumber",
    "Teacher",
    "Translator",
    "Weaver",
];
const STREETS: &[&str] =
    &["Mill Lane", "High Street", "Canal Road", "Brook Way", "Station Road", "Weir Close", "Oak Avenue"];
const CITIES: &[&str] =
    &["Ashford", "Bridgeton", "Clearwater", "Dunmore", "Eastbrook", "Fairview", "Greenfield", "Harlow"];
const STATES: &[&str] = &["California", "Colorado", "Kansas", "Maine", "Nevada", "Ohio", "Oregon", "Texas", "Vermont"];
const MAKES: &[&str] = &["Arden", "Bellweather", "Corvid", "Drake", "Everline", "Falcon", "Granite", "Harrow"];
const MODELS: &[&str] = &["Coupe", "Estate", "Pickup", "Roadster", "Saloon", "Van"];
