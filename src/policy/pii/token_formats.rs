//! The token formats providers publish: a fixed beginning, the bytes that may follow, how many of them make a token certain.

use super::matching::{Input, Open, Set};

/// The formats that may stand at `at`, by its first three bytes: of most texts none.
pub(super) fn formats_at(input: &Input<'_>, at: usize) -> Result<impl Iterator<Item = &'static Format>, Open> {
    let a = input.at(at)?;
    let b = if PAIRS.get(usize::from(a)).is_some_and(|&seconds| seconds != 0) { input.at(at + 1)? } else { 0 };
    let first = if pair_begins(a, b) { slot(a, b, input.at(at + 2)?) } else { 0 };
    let following = |place: &u8| NEXT.get(usize::from(*place).checked_sub(1)?).copied();
    let chain = std::iter::successors(Some(first), following).take_while(|&place| place > 0);
    let long = chain.filter_map(|place| FORMATS.get(usize::from(place) - 1));
    Ok(long.chain(SHORT.iter().filter(move |format| format.prefix.as_bytes() == [a, b])))
}

/// Whether any format, or a web token, begins with these bytes, with few false alarms.
#[inline]
pub(super) fn may_begin(a: u8, b: u8, c: u8) -> bool {
    slot(a, b, c) != 0
}

/// Whether any format's prefix begins with these two bytes; each has at least two.
#[inline]
pub(super) fn pair_begins(a: u8, b: u8) -> bool {
    PAIRS.get(usize::from(a)).is_some_and(|seconds| b < 128 && seconds >> b & 1 == 1)
}

/// By a hash of a prefix's first three bytes, the place of its format, counted from one, and behind each format the place of the
/// next with the same hash, in their order.
static FIRST: [u8; SLOTS] = CHAINS.0;
static NEXT: [u8; FORMATS.len()] = CHAINS.1;

const SLOTS: usize = 4096;

#[inline]
fn slot(a: u8, b: u8, c: u8) -> u8 {
    FIRST.get(hash(a, b, c)).copied().unwrap_or(0)
}

#[inline]
const fn hash(a: u8, b: u8, c: u8) -> usize {
    let bytes = a as u32 | (b as u32) << 8 | (c as u32) << 16;
    (bytes.wrapping_mul(0x9E37_79B1) >> 20) as usize
}

/// Marks what is no place: the beginning of a prefix of two bytes with each byte that may follow, and of a web token.
const OTHER: u8 = u8::MAX;

const CHAINS: ([u8; SLOTS], [u8; FORMATS.len()]) = {
    let (mut first, mut next) = ([0u8; SLOTS], [0u8; FORMATS.len()]);
    first[hash(b'e', b'y', b'J')] = OTHER;
    let mut n = 0;
    while n < SHORT.len() * 128 {
        let (format, byte) = (&SHORT[n / 128], (n % 128) as u8);
        let prefix = format.prefix.as_bytes();
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            first[hash(prefix[0], prefix[1], byte)] = OTHER;
        }
        n += 1;
    }
    n = FORMATS.len();
    while n > 0 {
        n -= 1;
        let prefix = FORMATS[n].prefix.as_bytes();
        let slot = hash(prefix[0], prefix[1], prefix[2]);
        next[n] = first[slot];
        first[slot] = n as u8 + 1;
    }
    (first, next)
};

/// By the first byte of a prefix, the set of its second bytes.
static PAIRS: [u128; 128] = {
    let mut pairs = [0u128; 128];
    let mut n = 0;
    while n < FORMATS.len() + SHORT.len() {
        let format = if n < FORMATS.len() { &FORMATS[n] } else { &SHORT[n - FORMATS.len()] };
        let prefix = format.prefix.as_bytes();
        pairs[prefix[0] as usize] |= 1 << prefix[1];
        n += 1;
    }
    pairs
};

/// A token format with a fixed beginning.
pub(super) struct Format {
    pub id: &'static str,
    pub prefix: &'static str,
    pub set: Set,
    /// Bytes behind the prefix that make it certain.
    pub least: usize,
    /// Whether a token of this format always holds a digit: the guard of prefixes that also begin words.
    pub digit: bool,
    /// The token ends behind `least` bytes: guards prefixes that many names begin with.
    pub exact: bool,
}

const fn format(id: &'static str, prefix: &'static str, set: Set, least: usize) -> Format {
    Format { id, prefix, set, least, digit: false, exact: false }
}

const fn weak(id: &'static str, prefix: &'static str, set: Set, least: usize) -> Format {
    Format { id, prefix, set, least, digit: true, exact: false }
}

const fn exact(id: &'static str, prefix: &'static str, set: Set, least: usize) -> Format {
    Format { id, prefix, set, least, digit: true, exact: true }
}

/// Prefixes of two bytes. No longer one begins like them.
const SHORT: &[Format] = &[
    format("secret.twilio", "SK", Set::Hex, 32),
    weak("secret.asana", "1/", Set::Alnum, 99),
    exact("secret.yandex", "YC", Set::Word, 38),
];

/// Prefixes of three bytes and more. Of two that fit, the later one speaks.
const FORMATS: &[Format] = &[
    format("secret.slack", "https://hooks.slack.com/services/", Set::Base64, 20),
    weak("secret.aws", "A3T", Set::Alnum, 17),
    weak("secret.aws", "ABIA", Set::Alnum, 16),
    weak("secret.aws", "ACCA", Set::Alnum, 16),
    format("secret.age", "AGE-SECRET-KEY-1", Set::Alnum, 40),
    weak("secret.aws", "AKIA", Set::Alnum, 16),
    weak("secret.artifactory", "AKCp", Set::Alnum, 40),
    exact("secret.yandex", "AQVN", Set::Word, 36),
    weak("secret.aws", "ASIA", Set::Alnum, 16),
    format("secret.google", "AIza", Set::Word, 35),
    weak("secret.easypost", "EZAK", Set::Alnum, 54),
    weak("secret.easypost", "EZTK", Set::Alnum, 54),
    weak("secret.facebook", "EAA", Set::Alnum, 40),
    format("secret.flutterwave", "FLWPUBK_TEST-", Set::Word, 16),
    format("secret.flutterwave", "FLWSECK_TEST-", Set::Word, 32),
    format("secret.google", "GOCSPX-", Set::Word, 24),
    weak("secret.heroku", "HRKU-", Set::Word, 40),
    weak("secret.alibaba", "LTAI", Set::Alnum, 17),
    format("secret.newrelic", "NRAK-", Set::Alnum, 20),
    format("secret.newrelic", "NRII-", Set::Word, 20),
    format("secret.newrelic", "NRJS-", Set::Alnum, 16),
    format("secret.postman", "PMAK-", Set::Word, 40),
    format("secret.sendgrid", "SG.", Set::Dotted, 40),
    format("secret.gitlab", "_gitlab_session=", Set::Alnum, 20),
    weak("secret.cloudflare", "v1.0-", Set::Word, 100),
    weak("secret.clojars", "CLOJARS_", Set::Alnum, 40),
    format("secret.cerebras", "csk-", Set::Alnum, 20),
    weak("secret.contentful", "CFPAT-", Set::Word, 30),
    format("secret.databricks", "dapi", Set::Hex, 32),
    format("secret.digitalocean", "doo_v1_", Set::Hex, 32),
    format("secret.digitalocean", "dop_v1_", Set::Hex, 32),
    format("secret.digitalocean", "dor_v1_", Set::Hex, 32),
    weak("secret.doppler", "dp.pt.", Set::Alnum, 32),
    weak("secret.dynatrace", "dt0c01.", Set::Dotted, 60),
    weak("secret.duffel", "duffel_live_", Set::Word, 32),
    weak("secret.duffel", "duffel_test_", Set::Word, 32),
    weak("secret.flyio", "fm1a_", Set::Base64, 80),
    weak("secret.flyio", "fm1r_", Set::Base64, 80),
    weak("secret.flyio", "fm2_", Set::Base64, 80),
    weak("secret.flyio", "fo1_", Set::Word, 40),
    weak("secret.frameio", "fio-u-", Set::Base64, 40),
    format("secret.github", "gho_", Set::Alnum, 30),
    format("secret.github", "ghp_", Set::Alnum, 30),
    format("secret.github", "ghr_", Set::Alnum, 30),
    format("secret.github", "ghs_", Set::Alnum, 30),
    format("secret.github", "ghu_", Set::Alnum, 30),
    format("secret.github", "github_pat_", Set::Word, 30),
    format("secret.gitlab", "glagent-", Set::Word, 30),
    weak("secret.gitlab", "GR1348941", Set::Word, 20),
    format("secret.gitlab", "glcbt-", Set::Word, 20),
    format("secret.gitlab", "gldt-", Set::Word, 20),
    format("secret.gitlab", "glffct-", Set::Word, 20),
    format("secret.gitlab", "glft-", Set::Word, 20),
    format("secret.gitlab", "glimt-", Set::Word, 20),
    format("secret.gitlab", "gloas-", Set::Word, 30),
    format("secret.gitlab", "glpat-", Set::Dotted, 20),
    format("secret.gitlab", "glptt-", Set::Word, 30),
    format("secret.gitlab", "glrt-", Set::Dotted, 20),
    format("secret.gitlab", "glsoat-", Set::Word, 20),
    weak("secret.grafana", "glc_", Set::Base64, 32),
    format("secret.grafana", "glsa_", Set::Word, 32),
    weak("secret.groq", "gsk_", Set::Alnum, 30),
    Format { digit: false, ..exact("secret.huggingface", "api_org_", Set::Alnum, 34) },
    Format { digit: false, ..exact("secret.huggingface", "hf_", Set::Alnum, 34) },
    weak("secret.vault", "hvb.", Set::Word, 80),
    weak("secret.vault", "hvs.", Set::Word, 80),
    weak("secret.intra42", "s-s4t2af-", Set::Hex, 60),
    weak("secret.intra42", "s-s4t2ud-", Set::Hex, 60),
    weak("secret.readme", "rdme_", Set::Alnum, 60),
    weak("secret.infracost", "ico-", Set::Alnum, 30),
    weak("secret.linear", "lin_api_", Set::Alnum, 30),
    weak("secret.gocardless", "live_", Set::Base64, 40),
    format("secret.stripe", "rk_live_", Set::Alnum, 16),
    format("secret.stripe", "rk_prod_", Set::Alnum, 16),
    format("secret.stripe", "rk_test_", Set::Alnum, 16),
    format("secret.npm", "npm_", Set::Alnum, 30),
    weak("secret.notion", "ntn_", Set::Alnum, 40),
    weak("secret.1password", "ops_eyJ", Set::Base64, 100),
    weak("secret.prefect", "pnu_", Set::Alnum, 36),
    weak("secret.airtable", "pat", Set::Dotted, 78),
    weak("secret.harness", "pat.", Set::Dotted, 60),
    weak("secret.harness", "sat.", Set::Dotted, 60),
    weak("secret.privateai", "p8e-", Set::Alnum, 32),
    format("secret.perplexity", "pplx-", Set::Alnum, 40),
    weak("secret.planetscale", "pscale_oauth_", Set::Dotted, 30),
    weak("secret.planetscale", "pscale_pw_", Set::Dotted, 30),
    weak("secret.planetscale", "pscale_tkn_", Set::Dotted, 30),
    format("secret.pulumi", "pul-", Set::Hex, 40),
    format("secret.pypi", "pypi-", Set::Word, 40),
    format("secret.replicate", "r8_", Set::Alnum, 32),
    format("secret.rubygems", "rubygems_", Set::Hex, 40),
    weak("secret.scalingo", "tk-us-", Set::Word, 40),
    format("secret.settlemint", "sm_aat_", Set::Alnum, 16),
    format("secret.settlemint", "sm_pat_", Set::Alnum, 16),
    format("secret.settlemint", "sm_sat_", Set::Alnum, 16),
    weak("secret.sentry", "sntrys_", Set::Base64, 40),
    weak("secret.sentry", "sntryu_", Set::Hex, 60),
    weak("secret.sourcegraph", "sgp_", Set::Word, 40),
    format("secret.openshift", "sha256~", Set::Word, 40),
    format("secret.shippo", "shippo_live_", Set::Hex, 40),
    format("secret.shippo", "shippo_test_", Set::Hex, 40),
    format("secret.shopify", "shpat_", Set::Hex, 32),
    format("secret.shopify", "shpca_", Set::Hex, 32),
    format("secret.shopify", "shppa_", Set::Hex, 32),
    format("secret.shopify", "shpss_", Set::Hex, 32),
    weak("secret.openai", "sk-", Set::Alnum, 20),
    format("secret.openai", "sk-admin-", Set::Word, 40),
    format("secret.anthropic", "sk-ant-", Set::Word, 20),
    format("secret.openrouter", "sk-or-v1-", Set::Hex, 32),
    format("secret.openai", "sk-proj-", Set::Word, 20),
    format("secret.openai", "sk-svcacct-", Set::Word, 20),
    format("secret.stripe", "sk_live_", Set::Alnum, 16),
    format("secret.stripe", "sk_prod_", Set::Alnum, 16),
    format("secret.stripe", "sk_test_", Set::Alnum, 16),
    weak("secret.square", "EAAA", Set::Word, 56),
    weak("secret.square", "sq0atp-", Set::Word, 22),
    weak("secret.square", "sq0csp-", Set::Word, 22),
    weak("secret.typeform", "tfp_", Set::Dotted, 50),
    weak("secret.sendinblue", "xkeysib-", Set::Word, 60),
    format("secret.slack", "xapp-", Set::Word, 24),
    format("secret.slack", "xoxa-", Set::Word, 20),
    format("secret.slack", "xoxb-", Set::Word, 20),
    format("secret.slack", "xoxe-", Set::Word, 20),
    format("secret.slack", "xoxe.xox", Set::Word, 20),
    format("secret.slack", "xoxo-", Set::Word, 20),
    format("secret.slack", "xoxp-", Set::Word, 20),
    format("secret.slack", "xoxr-", Set::Word, 20),
    format("secret.slack", "xoxs-", Set::Word, 20),
    exact("secret.clickhouse", "4b1d", Set::Alnum, 38),
    exact("secret.octopus", "API-", Set::Alnum, 26),
    weak("secret.1password", "A3-", Set::Word, 30),
    exact("secret.artifactory", "cmVmd", Set::Alnum, 59),
    weak("secret.aws", "bedrock-api-key-", Set::Base64, 20),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_is_found_by_its_first_bytes_and_the_order_is_kept() {
        for format in FORMATS.iter().chain(SHORT) {
            let text = format!("{}aa", format.prefix);
            let input = Input { bytes: text.as_bytes(), ended: false };
            let found: Vec<&str> = formats_at(&input, 0).unwrap().map(|f| f.prefix).filter(|p| text.starts_with(p)).collect();
            let all = FORMATS.iter().chain(SHORT).map(|f| f.prefix).filter(|p| text.starts_with(p));
            assert_eq!(found, all.collect::<Vec<_>>());
            assert!(may_begin(input.bytes[0], input.bytes[1], input.bytes[2]));
        }
    }
}
