//! The token formats providers publish: a fixed beginning, the bytes that may follow, how many of them make a token certain.

use super::matching::Set;
use std::sync::LazyLock;

/// The formats whose prefix begins with a byte: most bytes begin none.
pub(super) fn formats_beginning_with(first: u8) -> impl Iterator<Item = &'static Format> {
    static BY_BYTE: LazyLock<Vec<Vec<&'static Format>>> = LazyLock::new(|| {
        let of = |byte: u8| FORMATS.iter().filter(|f| f.prefix.as_bytes().first() == Some(&byte)).collect();
        (0..=127).map(of).collect()
    });
    BY_BYTE.get(usize::from(first)).into_iter().flatten().copied()
}

/// Whether any format's prefix begins with these two bytes; each has at least two.
pub(super) fn may_begin(first: u8, second: u8) -> bool {
    PAIRS.get(usize::from(first)).is_some_and(|seconds| second < 128 && seconds >> second & 1 == 1)
}

/// By the first byte of a prefix, the set of its second bytes.
static PAIRS: [u128; 128] = {
    let mut pairs = [0u128; 128];
    let mut n = 0;
    while n < FORMATS.len() {
        let prefix = FORMATS[n].prefix.as_bytes();
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

/// Of two that fit, the later one speaks.
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
    format("secret.twilio", "SK", Set::Hex, 32),
    weak("secret.asana", "1/", Set::Alnum, 99),
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
    exact("secret.yandex", "YC", Set::Word, 38),
    exact("secret.clickhouse", "4b1d", Set::Alnum, 38),
    exact("secret.octopus", "API-", Set::Alnum, 26),
    weak("secret.1password", "A3-", Set::Word, 30),
    exact("secret.artifactory", "cmVmd", Set::Alnum, 59),
    weak("secret.aws", "bedrock-api-key-", Set::Base64, 20),
];
